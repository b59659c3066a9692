"""Vectors of pairs and forces in loops, against the same in operations of torch."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor
from torch.autograd import forward_ad

from nnpx.derivatives import forces_and_stress, joint_prediction
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_atoms, graph_from_list
from nnpx.speed import pair_loops
from nnpx.speed.compiled import without_loops

NUMBERS = [1, 6, 8, 14]


def rattled(atoms: Atoms, seed: int) -> Atoms:
    """Without symmetry, so that no error cancels."""
    atoms.rattle(0.1, seed=seed)
    return atoms


def slanted() -> Atoms:
    """A crystal whose vectors are at no right angle, with atoms outside its cell."""
    atoms = bulk("Si", "diamond", a=5.4) * (2, 2, 3)
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.1, 0.0], [0.0, 1.1, 0.2], [0.0, 0.0, 0.9]], scale_atoms=True)
    atoms.positions += 7.0
    return rattled(atoms, 1)


SYSTEMS = {
    "crystal": [slanted()],
    "cluster": [rattled(Atoms("Si60", (bulk("Si", cubic=True) * 2).positions[:60]), 2)],
    "several": [slanted(), rattled(molecule("CH3CH2OH"), 3), rattled(bulk("Si", "diamond", a=5.4) * (2, 2, 2), 4)],
}


def graph_of(system: str, dtype: torch.dtype = torch.float64) -> AtomicGraph:
    """The structures with more pairs than loops ask for."""
    graph = graph_from_list(SYSTEMS[system], numbers=NUMBERS, cutoff=6.0, where="test").cast(dtype)
    assert pair_loops.can_be_used(len(graph.center), graph.positions, graph.cell, graph.shift)
    return graph


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_vectors_are_those_of_torch(system: str, dtype: torch.dtype, within: float) -> None:
    graph = graph_of(system, dtype)
    found = graph.edges()
    with without_loops():
        expected = graph.edges()
    for one, other in ((found.vector, expected.vector), (found.distance, expected.distance)):
        assert one.dtype is dtype
        torch.testing.assert_close(one, other, rtol=within, atol=20 * within)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("n_members", [1, 3])
def test_forces_are_those_of_torch(system: str, n_members: int) -> None:
    graph = graph_of(system)
    generator = torch.Generator().manual_seed(n_members)
    pulls = torch.randn(n_members, len(graph.center), 3, generator=generator, dtype=torch.float64)
    energies = torch.randn(n_members, graph.n_atoms, generator=generator, dtype=torch.float64)
    noise = torch.zeros(graph.n_atoms, 2, dtype=torch.float64)
    found = joint_prediction(graph, graph.edges(), energies, pulls, noise)
    with without_loops():
        expected = joint_prediction(graph, graph.edges(), energies, pulls, noise)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert float(found.forces.abs().sum()) > 0.0
    assert float(found.forces.sum(0).abs().max()) < 1e-10  # what pulls at a pair pushes its other end


def test_what_is_differentiated_is_left_to_torch() -> None:
    graph = graph_of("crystal")
    graph.positions.requires_grad_()
    edges = graph.edges()
    (slope,) = torch.autograd.grad(edges.distance.sum(), graph.positions, create_graph=True)
    assert bool((slope != 0.0).any())
    forces, _ = forces_and_stress(graph, edges, edges.vector * edges.distance[:, None])
    assert forces.requires_grad


def test_changes_are_followed_forward_and_for_several_at_once() -> None:
    graph = graph_of("crystal")
    change = torch.randn(2, graph.n_atoms, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def distances(positions: Tensor) -> Tensor:
        return graph.with_(positions=positions).edges().distance

    slopes = torch.func.vmap(lambda own: torch.func.jvp(distances, (graph.positions,), (own,))[1])(change)
    step = 1e-5
    numeric = [(distances(graph.positions + step * own) - distances(graph.positions - step * own)) / (2 * step) for own in change]
    torch.testing.assert_close(slopes, torch.stack(numeric), rtol=1e-7, atol=1e-7)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(graph.positions, change[0])
        torch.testing.assert_close(forward_ad.unpack_dual(distances(dual)).tangent, slopes[0])


def test_where_an_atom_is_nowhere_its_pairs_are() -> None:
    graph = graph_of("crystal")
    graph.positions[3] = torch.nan
    edges = graph.edges()
    broken = (graph.center == 3) | (graph.neighbor == 3)
    assert edges.distance[broken].isnan().all()
    assert edges.distance[~broken].isfinite().all()


def test_operations_say_the_shapes_of_what_they_give() -> None:
    positions, index = torch.zeros(7, 3, device="meta"), torch.zeros(5, dtype=torch.long, device="meta")
    shift, cell, owner = (
        torch.zeros(5, 3, device="meta"),
        torch.zeros(1, 3, 3, device="meta"),
        torch.zeros(7, dtype=torch.long, device="meta"),
    )
    vectors, distances = pair_loops.vectors_of_pairs(positions, (index, index), (shift, cell, owner))
    assert (vectors.shape, distances.shape) == ((5, 3), (5,))
    assert pair_loops.forces_of_pulls(vectors[:, None], (index, index), 7).shape == (7, 1, 3)


def test_a_graph_in_single_precision_is_a_graph_that_is_cast() -> None:
    """Whose pairs were found in double precision."""
    atoms = slanted()
    at_once = graph_from_atoms(atoms, numbers=NUMBERS, cutoff=6.0, where="test", dtype=torch.float32)
    expected = graph_from_atoms(atoms, numbers=NUMBERS, cutoff=6.0, where="test").cast(torch.float32)
    assert at_once.keys() == expected.keys()
    for name, value in expected.to_dict().items():
        torch.testing.assert_close(at_once[name], value, rtol=0, atol=0, equal_nan=True)
