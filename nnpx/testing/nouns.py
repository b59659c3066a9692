"""Laws of the small nouns: cutoff, radial functions, species embedding, network, prior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.graph import Edges
from nnpx.network import Network
from nnpx.prior import Prior
from nnpx.radial import Radial
from nnpx.species_embedding import SpeciesEmbedding
from nnpx.testing.contract import require, require_equal
from nnpx.testing.descriptors import open_edges

#: an embedding of any list of elements, always from the same seed
EmbeddingBuilder = Callable[[list[int]], SpeciesEmbedding]


def derivatives(function: Callable[[Tensor], Tensor], at: Float[Tensor, " edge"], order: int) -> list[Float[Tensor, " edge"]]:
    """The function and its derivatives up to `order` at every point."""
    x = at.clone().requires_grad_()
    found = [function(x) + 0.0 * x.square()]  # connected to x even where the function is a constant
    for _ in range(order):
        found.append(torch.autograd.grad(found[-1].sum(), x, create_graph=True, materialize_grads=True)[0])
    return [value.detach() for value in found]


def cutoff_vanishes_with_its_promised_derivatives(cutoff: Cutoff) -> None:
    """At the radius, value and derivatives up to `smoothness` are zero, compared with how large they are inside."""
    inside = torch.linspace(0.02, 0.98, 49, dtype=torch.float64) * cutoff.radius
    edge = torch.tensor([cutoff.radius * (1.0 - 1e-7)], dtype=torch.float64)
    orders = zip(derivatives(cutoff, inside, cutoff.smoothness), derivatives(cutoff, edge, cutoff.smoothness), strict=True)
    for order, (within, at) in enumerate(orders):
        ratio = float(at.abs() / within.abs().max())
        require(ratio <= 1e-3, f"derivative {order} of the cutoff", expected="zero at the radius", found=f"{ratio:.3g} of its maximum")


def cutoff_falls_from_at_most_one_to_zero(cutoff: Cutoff) -> None:
    """0 < f_c ≤ 1 inside, decreasing; exactly 0 from the radius on, with a zero derivative."""
    inside, slope = derivatives(cutoff, torch.linspace(0.0, 0.9, 46, dtype=torch.float64) * cutoff.radius, 1)
    falls = bool((inside > 0).all() and (inside <= 1).all() and (slope <= 0).all())
    require(falls, "the cutoff inside its radius", expected="a fall from at most 1 towards 0", found=f"{inside[::9].tolist()}")
    outside = derivatives(cutoff, torch.tensor([1.0, 1.0001, 7.0], dtype=torch.float64) * cutoff.radius, 1)
    zero = all(bool((value == 0).all()) for value in outside)
    require(zero, "the cutoff beyond its radius", expected="0", found=f"{[value.tolist() for value in outside]}")


def radial_functions_are_named_and_counted(radial: Radial) -> None:
    """One column and one name per function."""
    shape, names = radial(torch.ones(3, dtype=torch.float64)).shape, radial.names()
    n_functions = radial.n_functions
    require(shape == (3, n_functions), "radial functions", expected=f"{n_functions} columns", found=f"{shape[1]}")
    require(len(set(names)) == n_functions, "radial names", expected=f"{n_functions} different names", found=f"{len(set(names))}")


def radial_functions_are_finite_and_smooth(radial: Radial) -> None:
    """φ and its slope are finite at r = 0, its curvature for r → 0, and each derivative is the slope of the one before."""
    for column in range(radial.n_functions):

        def function(distance: Tensor, column: int = column) -> Tensor:
            values: Tensor = radial(distance)[:, column]
            return values

        at_zero = derivatives(function, torch.tensor([0.0], dtype=torch.float64), 1)
        at_zero += derivatives(function, torch.tensor([1e-6], dtype=torch.float64), 2)
        finite = all(bool(value.isfinite().all()) for value in at_zero)
        require(finite, f"{radial.names()[column]} at r = 0", expected="finite derivatives", found=f"{[v.tolist() for v in at_zero]}")
        points, step = torch.linspace(0.3, 6.0, 115, dtype=torch.float64), 1e-4
        middle = derivatives(function, points, 2)
        up, down = derivatives(function, points + step, 1), derivatives(function, points - step, 1)
        for order in (0, 1):
            slope = (up[order] - down[order]) / (2.0 * step)
            law = f"derivative {order + 1} of {radial.names()[column]}"
            size = 1.0 + float(middle[order + 1].abs().max())
            require_equal(law, middle[order + 1] / size, slope / size, within=1e-4, unit="")


def radial_functions_differ(radial: Radial) -> None:
    """No function is a combination of the others: the Gram matrix on 0.5 to 5 Å has full rank."""
    values = radial(torch.linspace(0.5, 5.0, 400, dtype=torch.float64))
    rank = int(torch.linalg.matrix_rank(values / torch.linalg.vector_norm(values, dim=0), rtol=1e-12))
    require(rank == radial.n_functions, "radial functions", expected=f"{radial.n_functions} independent ones", found=f"{rank}")


def same_species_same_vector(build: EmbeddingBuilder) -> None:
    """The vector depends on the element alone, and different elements have different ones."""
    embedding = build([1, 6, 8])
    vectors = embedding(torch.tensor([0, 1, 0, 2, 1])).detach()
    expected = (5, embedding.n_channels)
    require(vectors.shape == expected, "species vectors", expected=f"shape {expected}", found=f"{tuple(vectors.shape)}")
    require_equal("two atoms of one element", vectors[[0, 1]], vectors[[2, 4]], within=0.0, unit="")
    distances = torch.pdist(vectors[[0, 1, 3]])
    require(bool((distances > 1e-3).all()), "different elements", expected="different vectors", found=f"distances {distances.tolist()}")


def unused_element_changes_nothing(build: EmbeddingBuilder) -> None:
    """Lengths and angles of the vectors do not depend on which other elements are listed, nor on the order of the list."""
    few, more, turned = build([1, 8]), build([1, 6, 8, 26]), build([8, 1])
    small = few(torch.tensor([0, 1])).detach()
    for law, vectors in (("an unused element", more(torch.tensor([0, 2]))), ("the order of elements", turned(torch.tensor([1, 0])))):
        require_equal(law, vectors.detach() @ vectors.detach().T, small @ small.T, within=1e-12, unit="")


@final
@dataclass(frozen=True)
class NetworkCase:
    """A network in float64 and the sizes it was built for."""

    network: Network
    n_features: int
    n_channels: int
    n_species: int

    def inputs(self, n_atoms: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random features, the species vectors that belong to random species, and these."""
        generator = torch.Generator().manual_seed(10)
        geometry = torch.randn(n_atoms, self.n_features, dtype=torch.float64, generator=generator)
        vectors = torch.randn(self.n_species, self.n_channels, dtype=torch.float64, generator=generator)
        species = torch.arange(n_atoms) % self.n_species
        return geometry, vectors[species], species


def atomic_energy_depends_on_own_row_only(case: NetworkCase) -> None:
    """∂E_i/∂G_j = 0 unless i = j."""
    geometry, chemistry, species = case.inputs(7)
    geometry.requires_grad_()
    (slope,) = torch.autograd.grad(case.network(geometry, chemistry, species)[2].sum(), geometry)
    require(bool(slope[2].abs().max() > 0), "the network", expected="a slope in its features", found="none")
    foreign = torch.cat([slope[:2], slope[3:]])
    require_equal("locality of the network", foreign, torch.zeros_like(foreign), within=0.0, unit="")


def batch_size_changes_no_atomic_energy(case: NetworkCase) -> None:
    """An atom has the same energy alone, among few and among very many."""
    geometry, chemistry, species = case.inputs(2000)
    many = case.network(geometry, chemistry, species)
    few = case.network(geometry[:9], chemistry[:9], species[:9])
    one = case.network(geometry[4:5], chemistry[4:5], species[4:5])
    require_equal("batch independence, 9 of 2000", few, many[:9], within=1e-12, unit="")
    require_equal("batch independence, 1 of 2000", one, many[4:5], within=1e-12, unit="")


def network_is_linear_in_its_last_layer_features(case: NetworkCase) -> None:
    """E_i = w_z · h_i + b_z, w and b of the element at most: h, the last-layer features, explains the outputs without a rest."""
    geometry, chemistry, species = case.inputs(600)
    with torch.no_grad():
        outputs, signal = case.network(geometry, chemistry, species), case.network.last_layer_features(geometry, chemistry, species)
    for element in species.unique():
        own = species == element
        read = torch.cat((signal[own], torch.ones_like(signal[own][:, :1])), 1)
        require(len(read) > read.shape[1], "the last signal", expected=f"fewer than {len(read)} numbers", found=f"{read.shape[1]}")
        explained = read @ torch.linalg.lstsq(read, outputs[own], driver="gelsd").solution
        require_equal("outputs that are linear in the last signal", explained, outputs[own], within=1e-9, unit="")


def network_has_the_slopes_that_it_says(case: NetworkCase) -> None:
    """`with_slopes` is the network and its derivative, also in how both change, for few atoms and for many."""
    for n_atoms in (5, 700):
        _slopes_are_derivatives(case, n_atoms)


def _slopes_are_derivatives(case: NetworkCase, n_atoms: int) -> None:
    network, (geometry, chemistry, species) = case.network.train(), case.inputs(n_atoms)
    generator = torch.Generator().manual_seed(12)
    variables = [geometry.requires_grad_(), chemistry.requires_grad_(), *network.parameters()]
    outputs = network(geometry, chemistry, species)
    energies = torch.randn(2, outputs.shape[1], dtype=torch.float64, generator=generator)
    each = [torch.autograd.grad((outputs @ one).sum(), geometry, create_graph=True)[0] for one in energies]
    expected = outputs, torch.stack(each)
    found = network.with_slopes(geometry, chemistry, species, energies)
    with torch.no_grad():
        alone = network.with_slopes(geometry, chemistry, species, energies)
    along = [torch.randn(value.shape, dtype=torch.float64, generator=generator) for value in expected]
    for name, value, unrecorded, right in zip(("outputs", "slopes"), found, alone, expected, strict=True):
        require_equal(f"{name} of {n_atoms} atoms", value.detach(), right.detach(), within=1e-11, unit="")
        require_equal(f"{name} of {n_atoms} atoms without gradients", unrecorded, right.detach(), within=1e-11, unit="")
        require(not unrecorded.requires_grad, name, expected="nothing that can be differentiated", found="a record of autograd's")
    of_found, of_expected = (
        torch.autograd.grad([(value * way).sum() for value, way in zip(values, along, strict=True)], variables, materialize_grads=True)
        for values in (found, expected)
    )
    for number, (one, other) in enumerate(zip(of_found, of_expected, strict=True)):
        require_equal(f"gradient {number} of outputs and slopes of {n_atoms} atoms", one, other, within=1e-9, unit="")


def network_has_second_derivatives(case: NetworkCase) -> None:
    """∂²E/∂G² agrees with finite differences of ∂E/∂G: what training on forces needs."""
    geometry, chemistry, species = case.inputs(5)
    generator = torch.Generator().manual_seed(11)
    along = torch.randn(geometry.shape, dtype=torch.float64, generator=generator)

    def slope(offset: float) -> Tensor:
        x = (geometry + offset * along).requires_grad_()
        (first,) = torch.autograd.grad(case.network(x, chemistry, species).square().sum(), x, create_graph=True)
        return first

    x = geometry.clone().requires_grad_()
    (first,) = torch.autograd.grad(case.network(x, chemistry, species).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first * along).sum(), x)
    difference = (slope(1e-5) - slope(-1e-5)).detach() / 2e-5
    require_equal("second derivative of the network", second, difference, within=1e-6, unit="")


@final
@dataclass(frozen=True)
class PriorCase:
    """A prior in float64 and the number of elements it was built for."""

    prior: Prior
    n_species: int

    def pair(self, first: int, second: int, distance: Float[Tensor, " dimer"]) -> Float[Tensor, "dimer 2"]:
        """Energies (eV) of the two atoms at each distance (Å)."""
        energies: Tensor = self.prior(*self.dimers(first, second, distance))
        return energies.reshape(-1, 2)

    def dimers(self, first: int, second: int, distance: Float[Tensor, " dimer"]) -> tuple[Edges, Int[Tensor, " atom"]]:
        """One for each distance (Å), which do not see each other."""
        atom = torch.arange(2 * len(distance))
        partner = atom + 1 - 2 * (atom % 2)
        axis = torch.tensor([[0.6, 0.0, 0.8], [-0.6, 0.0, -0.8]], dtype=distance.dtype)
        vector = (distance[:, None, None] * axis).reshape(-1, 3)
        edges = Edges(atom, partner, torch.zeros_like(vector), vector, distance.repeat_interleave(2), n_atoms=len(atom))
        return edges, torch.tensor([first, second]).repeat(len(distance))


def prior_of_an_isolated_atom_is_zero(case: PriorCase) -> None:
    """No neighbour, no energy."""
    energies = case.prior(open_edges(torch.zeros(1, 3, dtype=torch.float64), 5.0), torch.tensor([0]))
    require_equal("prior of an isolated atom", energies, torch.zeros(1, dtype=torch.float64), within=0.0, unit="eV")


def prior_is_zero_where_it_is_not_evaluated(case: PriorCase) -> None:
    """Beyond its reach, and but for the edges at its `places`."""
    distances = torch.linspace(0.5, case.prior.reach + 3.0, 101, dtype=torch.float64)
    for first in range(case.n_species):
        for second in range(case.n_species):
            edges, species = case.dimers(first, second, distances)
            energies, few = case.prior(edges, species), case.prior(edges.at(case.prior.places(edges, species)), species)
            require_equal("prior of the edges at its places", few, energies, within=0.0, unit="eV")
            beyond = energies.reshape(-1, 2)[distances >= case.prior.reach]
            require_equal("prior beyond its reach", beyond, torch.zeros_like(beyond), within=0.0, unit="eV")


def prior_never_attracts(case: PriorCase) -> None:
    """The pair energy is finite, not negative and does not rise with distance; each atom has half of it."""
    distances = torch.linspace(0.1, 6.0, 60, dtype=torch.float64)
    for first in range(case.n_species):
        for second in range(case.n_species):
            energies = case.pair(first, second, distances)
            require_equal("halves of a pair", energies[:, 0], energies[:, 1], within=1e-9, unit="eV")
            falls = bool(energies.isfinite().all() and (energies >= 0).all() and (energies.diff(dim=0) <= 1e-12).all())
            require(falls, "the prior's pair energy", expected="repulsion everywhere", found=f"{energies[::10].sum(1).tolist()} eV")


def prior_ends_smoothly(case: PriorCase) -> None:
    """Energy, force and its slope have no step anywhere between 0.5 and 6 Å."""
    points = torch.linspace(0.5, 6.0, 11001, dtype=torch.float64)
    step = float(points[1] - points[0])
    for other in range(case.n_species):

        def energy_of_pair(distance: Tensor, other: int = other) -> Tensor:
            return case.pair(0, other, distance).sum(1)

        energy, slope, curvature = derivatives(energy_of_pair, points, 2)
        for order, (low, high) in enumerate(((energy, slope), (slope, curvature))):
            off = (low.diff() - 0.5 * step * (high[1:] + high[:-1])).abs() / (1.0 + high[1:].abs())
            law = f"derivative {order} of the prior"
            require(float(off.max()) <= 2e-3, law, expected="the integral of the next one", found=f"a step of {float(off.max()):.3g}")


CUTOFF_LAWS: Final[tuple[Callable[[Cutoff], None], ...]] = (
    cutoff_vanishes_with_its_promised_derivatives,
    cutoff_falls_from_at_most_one_to_zero,
)
RADIAL_LAWS: Final[tuple[Callable[[Radial], None], ...]] = (
    radial_functions_are_named_and_counted,
    radial_functions_are_finite_and_smooth,
    radial_functions_differ,
)
EMBEDDING_LAWS: Final[tuple[Callable[[EmbeddingBuilder], None], ...]] = (same_species_same_vector, unused_element_changes_nothing)
NETWORK_LAWS: Final[tuple[Callable[[NetworkCase], None], ...]] = (
    atomic_energy_depends_on_own_row_only,
    batch_size_changes_no_atomic_energy,
    network_is_linear_in_its_last_layer_features,
    network_has_the_slopes_that_it_says,
    network_has_second_derivatives,
)
PRIOR_LAWS: Final[tuple[Callable[[PriorCase], None], ...]] = (
    prior_of_an_isolated_atom_is_zero,
    prior_is_zero_where_it_is_not_evaluated,
    prior_never_attracts,
    prior_ends_smoothly,
)
