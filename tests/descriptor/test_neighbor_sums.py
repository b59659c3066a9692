"""Neighbour densities in loops, against the same in operations of torch; the tables that they read, against the functions."""

import math
import os
import subprocess
import sys

import pytest
import torch
from environments import acetamide, parts_of
from torch import Tensor, nn

from nnpx.cutoff import Cutoff
from nnpx.cutoff.cosine import Cosine
from nnpx.cutoff.polynomial import Polynomial
from nnpx.derivatives import gradients_of
from nnpx.descriptor.harmonics import Harmonics, harmonics
from nnpx.descriptor.neighbor_sums import CHANGES, PULLS, SUMS, NeighborSums
from nnpx.descriptor.tabulated import MOST_PIECES, reach, tabulate, within
from nnpx.graph import Edges
from nnpx.neighbors import graph_from_atoms
from nnpx.radial import Radial
from nnpx.radial.bessel import Bessel
from nnpx.radial.chebyshev import Chebyshev
from nnpx.speed.compiled import without_loops
from nnpx.structures import TOO_CLOSE

RADIUS = 4.0
#: more than a group of atoms
N_ATOMS = 45


def pairs(dtype: torch.dtype = torch.float64) -> Edges:
    """Up to nine neighbours, one of them as close as any may come, and a quarter beyond the cutoff."""
    generator = torch.Generator().manual_seed(1)
    counts = torch.randint(10, (N_ATOMS,), generator=generator)
    counts[::11] = 0
    center = torch.arange(N_ATOMS).repeat_interleave(counts)
    unit = nn.functional.normalize(torch.randn(len(center), 3, generator=generator, dtype=torch.float64))
    distance = 0.8 + 4.3 * torch.rand(len(center), generator=generator, dtype=torch.float64)
    distance[3] = TOO_CLOSE
    vector = (unit * distance[:, None]).to(dtype)
    neighbor = torch.randint(N_ATOMS, (len(center),), generator=generator)
    return Edges(center, neighbor, torch.zeros_like(vector), vector, torch.linalg.vector_norm(vector, dim=1), N_ATOMS)


def weights(edges: Edges, kind: str) -> Tensor:
    """One channel per element, as many numbers for each, or one channel with zeros."""
    generator = torch.Generator().manual_seed(2)
    own = torch.randn(N_ATOMS, 3, generator=generator, dtype=torch.float64)
    of_atoms = {"onehot": torch.eye(3, dtype=torch.float64).repeat(N_ATOMS // 3, 1), "dense": own, "one": own[:, :1].clamp_min(0.0)}
    return of_atoms[kind].index_select(0, edges.neighbor).to(edges.vector.dtype)


def expected(edges: Edges, weight: Tensor, radial: Radial, cutoff: Cutoff, l_max: int, squeeze: float) -> Tensor:
    """Σ_j s_ij^c φ_k f_c Y_lm, all of it written out."""
    waves = radial(edges.distance * squeeze) * cutoff(edges.distance)[:, None]
    each = torch.einsum("ey,ek,ec->eykc", harmonics(edges.vector / edges.distance[:, None], l_max), waves, weight)
    sums = each.new_zeros(edges.n_atoms, *each.shape[1:]).index_add(0, edges.center, each)
    return sums.flatten(2).transpose(0, 1)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("kind", ["onehot", "dense", "one"])
@pytest.mark.parametrize(("l_max", "n_functions", "squeeze"), [(0, 1, 1.0), (3, 6, 1.0), (4, 9, 1.5)])
def test_sums_and_pulls_are_those_of_torch(dtype, within, kind, l_max, n_functions, squeeze):
    radial, cutoff = Chebyshev(n_functions=n_functions, cutoff_radius=squeeze * RADIUS), Cosine(radius=RADIUS)
    edges = pairs(dtype)
    weight = weights(edges, kind)
    density = NeighborSums(radial, cutoff, Harmonics(l_max), squeeze=squeeze).expanded(edges, weight)
    assert density is not None
    variables = pairs().as_variables()
    reference = expected(variables, weight.double(), radial, cutoff, l_max, squeeze)
    assert density.sums[0].dtype is dtype
    torch.testing.assert_close(density.sums[0].double(), reference.detach(), rtol=0, atol=within)
    gradients = torch.randn(2, *reference.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (pulls,) = gradients_of(reference, (variables.vector,), gradients)
    torch.testing.assert_close(density.pull((gradients.to(dtype),)).double(), pulls, rtol=within, atol=100 * within)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("kind", ["onehot", "dense", "one"])
@pytest.mark.parametrize(("l_max", "n_functions"), [(0, 1), (3, 6), (4, 9)])
def test_changes_are_the_transpose_of_pulls(dtype, within, kind, l_max, n_functions):
    """Σ g · (∂B/∂r) d is the same from either end; so what autograd makes of pulls is the derivative."""
    edges, random = pairs(dtype), torch.Generator().manual_seed(4)
    loops = NeighborSums(Chebyshev(n_functions=n_functions, cutoff_radius=RADIUS), Cosine(radius=RADIUS), Harmonics(l_max))
    density = loops.expanded(edges, weights(edges, kind))
    assert density is not None
    gradient = torch.randn(2, *density.sums[0].shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_()
    pulls = density.pull((gradient,))
    displacement = torch.randn(pulls.shape, generator=random, dtype=torch.float64).to(dtype)
    (changes,) = torch.autograd.grad(pulls, gradient, displacement)
    for energy in range(2):
        from_moments, from_pairs = (gradient * changes)[energy].double().sum(), (pulls * displacement)[energy].double().sum()
        torch.testing.assert_close(from_moments, from_pairs, rtol=within, atol=within)
    each = torch.zeros_like(gradient)
    each[0, -1, :, -1] = 1.0  # one component alone
    (own,) = torch.autograd.grad(density.pull((gradient,)), gradient, displacement)
    moved = (density.pull((each,)) * displacement).sum(2)[0]
    expected = moved.new_zeros(N_ATOMS).index_add(0, edges.center, moved)
    torch.testing.assert_close(own[0, -1, :, -1], expected, rtol=within, atol=10 * within)


def test_atoms_without_neighbors_have_nothing():
    none = pairs().at(torch.zeros(0, dtype=torch.long))
    loops = NeighborSums(Bessel(n_functions=3, smoothness=0.0, cutoff_radius=RADIUS), Cosine(radius=RADIUS), Harmonics(2))
    density = loops.expanded(none, torch.zeros(0, 2, dtype=torch.float64))
    assert density is not None
    assert density.sums[0].shape == (9, N_ATOMS, 6)
    assert (density.sums[0] == 0.0).all()
    assert density.pull((torch.ones(1, *density.sums[0].shape, dtype=torch.float64),)).shape == (1, 0, 3)


@pytest.mark.parametrize("nowhere", [torch.nan, torch.inf])
def test_a_pair_that_is_nowhere_makes_a_density_that_is_none(nowhere):
    edges = pairs()
    broken = edges.moved(edges.vector.index_put((torch.tensor([5]),), torch.tensor(nowhere, dtype=torch.float64)))
    loops = NeighborSums(Bessel(n_functions=3, smoothness=0.0, cutoff_radius=RADIUS), Cosine(radius=RADIUS), Harmonics(2))
    density = loops.expanded(broken, weights(broken, "dense"))
    assert density is not None
    atom = int(edges.center[5])
    assert density.sums[0][:, atom].isnan().any()
    assert density.pull((density.sums[0][None],))[0, edges.center == atom].isnan().any()
    assert density.sums[0][:, edges.center[edges.center != atom]].isfinite().all()


def test_a_table_is_made_anew_when_its_functions_change():
    radial, edges = Bessel(n_functions=3, smoothness=0.0, cutoff_radius=RADIUS), pairs()
    loops = NeighborSums(radial, Cosine(radius=RADIUS), Harmonics(2))
    before = loops.expanded(edges, weights(edges, "dense"))
    radial.height *= 1.5
    after = loops.expanded(edges, weights(edges, "dense"))
    assert before is not None
    assert after is not None
    torch.testing.assert_close(after.sums[0], 1.5 * before.sums[0], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_no_loop_reaches_beyond_its_arrays(tmp_path):
    """Odd numbers of neighbours in a channel for each atom take most room; Numba checks the bounds when it is told to."""
    code = f"""
import torch
from nnpx.cutoff.cosine import Cosine
from nnpx.descriptor.harmonics import Harmonics
from nnpx.descriptor.neighbor_sums import NeighborSums
from nnpx.graph import Edges
from nnpx.radial.bessel import Bessel
n, most = 37, 5
center = torch.arange(n).repeat_interleave(most)
vector = torch.nn.functional.normalize(torch.randn(len(center), 3, dtype=torch.float64))
edges = Edges(center, center, torch.zeros_like(vector), vector, torch.linalg.vector_norm(vector, dim=1), n)
weight = torch.eye(n, dtype=torch.float64)[center]
radial, cutoff = Bessel(n_functions=6, smoothness=0.0, cutoff_radius={RADIUS}), Cosine(radius={RADIUS})
density = NeighborSums(radial, cutoff, Harmonics(3)).expanded(edges, weight)
gradient = density.sums[0][None].clone().requires_grad_()
pulls = density.pull((gradient,))
assert pulls.isfinite().all()
assert torch.autograd.grad(pulls.sum(), gradient)[0].isfinite().all()
"""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_operations_say_the_shapes_of_what_they_give():
    edges = pairs()
    weight = weights(edges, "onehot")
    loops = NeighborSums(Bessel(n_functions=6, smoothness=0.0, cutoff_radius=RADIUS), Cosine(radius=RADIUS), Harmonics(2))
    density = loops.expanded(edges, weight)
    assert density is not None
    sums, pulls = density.sums[0], density.pull((density.sums[0][None],))
    start = torch.zeros(N_ATOMS + 1)
    of_pairs, basis = (
        [one.to("meta") for one in several] for several in ((edges.vector, edges.distance, weight, start), loops.basis(torch.float64))
    )
    assert SUMS(of_pairs, basis, [9, 18]).shape == sums.shape
    assert PULLS(sums[None].to("meta"), of_pairs, basis).shape == pulls.shape
    assert CHANGES(pulls.to("meta"), of_pairs, basis, [9, 18]).shape == sums[None].shape


@pytest.mark.parametrize("option", ["moments", "nep"])
def test_a_descriptor_is_linearised_as_without_loops(option):
    atoms = acetamide()
    parts = parts_of([f"experiment={option}"], [1, 6, 7, 8])
    graph = graph_from_atoms(atoms, numbers=parts.numbers, cutoff=parts.cutoff_radius, where="test")
    chemistry = parts.embedding(graph.species).detach()
    features, pull = parts.descriptor.linearised(graph.edges(), chemistry)
    with without_loops():
        usual, usual_pull = parts.descriptor.linearised(graph.edges(), chemistry)
    assert features.dtype is torch.float64
    torch.testing.assert_close(features, usual, rtol=1e-11, atol=1e-11)
    slopes = torch.randn(2, *features.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(pull(slopes), usual_pull(slopes), rtol=1e-9, atol=1e-9)


def test_without_loops_torch_has_its_own():
    loops = NeighborSums(Bessel(n_functions=3, smoothness=0.0, cutoff_radius=RADIUS), Cosine(radius=RADIUS), Harmonics(2))
    with without_loops():
        assert loops.expanded(pairs(), weights(pairs(), "one")) is None
    assert loops.expanded(pairs(), weights(pairs(), "one")) is not None


class Learned(Radial):
    """One function, with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.n_functions, self.exponent = 1, nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, distance: Tensor) -> Tensor:
        return torch.exp(-self.exponent * distance[:, None])

    def names(self) -> list[str]:
        return ["learned"]


class Kinked(Radial):
    """One function that is no polynomial anywhere near 2.3 Å."""

    n_functions = 1

    def forward(self, distance: Tensor) -> Tensor:
        return (distance[:, None] - 2.3).abs()

    def names(self) -> list[str]:
        return ["kinked"]


@pytest.mark.parametrize("radial", [Learned(), Kinked()])
def test_what_is_trained_or_not_smooth_is_left_to_torch(radial):
    loops = NeighborSums(radial, Cosine(radius=RADIUS), Harmonics(1))
    assert loops.expanded(pairs(), weights(pairs(), "one")) is None
    parts = parts_of(["experiment=moments"], [1, 6, 7, 8])
    parts.descriptor.sums = loops
    edges, chemistry = pairs(), torch.eye(4, dtype=torch.float64).repeat(12, 1)[:N_ATOMS]
    torch.testing.assert_close(parts.descriptor.linearised(edges, chemistry)[0], parts.descriptor(edges, chemistry), rtol=0, atol=0)


@pytest.mark.parametrize("cutoff", [Cosine(radius=RADIUS), Polynomial(radius=RADIUS, power=5)])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 2e-12), (torch.float32, 2e-6)])
def test_a_table_is_the_functions_and_joins_with_two_derivatives(cutoff, dtype, error):
    radial = Bessel(n_functions=6, smoothness=0.0, cutoff_radius=RADIUS)
    table = tabulate(lambda r: radial(r) * cutoff(r)[:, None], within(RADIUS), dtype)
    assert table is not None
    assert table.dtype is dtype
    per_angstrom, first, last = reach(table, within(RADIUS), RADIUS).tolist()
    assert last == pytest.approx(RADIUS)
    distance = torch.linspace(0.1, RADIUS, 997, dtype=torch.float64)
    place = (distance - first) * per_angstrom
    piece = place.floor().clamp(0, len(table) - 1)
    powers = (place - piece)[:, None] ** torch.arange(6)
    found = torch.einsum("rp,rpk->rk", powers, table.double()[piece.long()])[:, :6]
    torch.testing.assert_close(found, radial(distance) * cutoff(distance)[:, None], rtol=0, atol=error)
    for derivative in range(3):
        at_end = sum(math.perm(p, derivative) * table[:, p].double() for p in range(6))
        at_start = math.factorial(derivative) * table[:, derivative].double()
        largest = at_start.abs().amax()
        assert float((at_end[:-1] - at_start[1:]).abs().amax() / largest) < (1e-9 if dtype is torch.float64 else 1e-2)


def test_a_function_without_second_derivative_or_with_too_many_pieces_has_no_table():
    assert tabulate(lambda r: torch.sin(2000.0 * r)[:, None], within(RADIUS), torch.float64) is None
    assert tabulate(lambda r: torch.from_numpy(r.numpy())[:, None], within(RADIUS), torch.float64) is None
    assert tabulate(lambda r: torch.sin(5.0 * r)[:, None], within(RADIUS), torch.float64).shape[0] < MOST_PIECES
