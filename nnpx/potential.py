"""A neural network potential: V(R) = Σ_i E_i over atoms that see their neighbours within a smooth cutoff.

list[ase.Atoms] ─ neighbors ─▶ AtomicGraph ─ edges() ─▶ r_ij ─ descriptor ─▶ geometry  (atom, feature) ┐
                                   └ species ─ embedding ─▶ chemistry (atom, channel) ─────────────────⊕─▶ network ─▶ E_i ─ sum ─▶ V

forces = −∂V/∂positions        stress = (1/volume) ∂V/∂strain
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nnpx.derivatives import gradients, joint_prediction, refuse_inference_mode, refuse_reduced_precision
from nnpx.descriptor import Descriptor, Pull
from nnpx.descriptor.expanding import ExpandingDescriptor, Gradients
from nnpx.descriptor.stored import pull_of_stored
from nnpx.graph import AtomicGraph, Edges, Prediction
from nnpx.network import Network
from nnpx.noise import Noise
from nnpx.prior import Prior
from nnpx.species_embedding import SpeciesEmbedding
from nnpx.speed.compiled import may_use_loops
from nnpx.speed.memory import keep_what_is_freed


@dataclass(frozen=True)
class Scales:
    """What is measured on the training set once and then frozen."""

    feature_mean: Float[Tensor, "species feature"]  #: of each element's environments
    feature_std: Float[Tensor, "species feature"]  #: of each element's environments; bounded from below
    energy_scale: float  #: s, eV per unit of the network's output: the root mean square force times 1 Å
    energy_shift: float  #: b, eV: the mean energy of an atom beyond its reference energy
    reference_energies: Float[Tensor, " species"]  #: E0 of each element, eV, float64


#: chemistry, geometry, and from ∂V_m/∂G_i (energy, atom, feature) of several energies their gradients in what these are functions of
Linearised = tuple[Float[Tensor, "atom channel"], Float[Tensor, "atom feature"], Callable[[Tensor], Gradients]]


@final
class Potential(nn.Module):
    """Energy, forces and stress of a batch of structures, all from one scalar.

        E_i = s · network(geometry ⊕ chemistry) + b + prior_i + E0_{z_i}

    Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401. Geometry is standardised with the mean and width that each element's
    features have in the training set; see `Scales` for s, b and E0. The first potential of a process has its allocator keep what is freed
    (`nnpx.speed.memory`).

    Args:
        numbers: atomic numbers of the elements, in the order of the species index.
        cutoff_radius: radius of the neighbour list, Å.
        embedding: species → chemistry.
        descriptor: edges and chemistry → geometry.
        network: geometry and chemistry → dimensionless atomic energy.
        prior: analytic part of the atomic energy, eV.
        noise: what the last outputs of the network say about the noise of the labels.
        n_heads: energies among the outputs of the network, 1 unless the ensemble is shallow; V and F are their means.
        scales: statistics of the training set.
    """

    feature_mean: Tensor
    feature_std: Tensor
    energy_scale: Tensor
    energy_shift: Tensor
    reference_energies: Tensor

    def __init__(
        self,
        *,
        numbers: list[int],
        cutoff_radius: float,
        embedding: SpeciesEmbedding,
        descriptor: Descriptor,
        network: Network,
        prior: Prior,
        noise: Noise,
        n_heads: int,
        scales: Scales,
    ) -> None:
        super().__init__()
        keep_what_is_freed()
        self.numbers, self.cutoff_radius = numbers, cutoff_radius
        self.embedding, self.descriptor, self.network, self.prior = embedding, descriptor, network, prior
        self.noise, self.n_heads = noise, n_heads
        self.register_buffer("feature_mean", scales.feature_mean)
        self.register_buffer("feature_std", scales.feature_std)
        self.register_buffer("energy_scale", torch.tensor(scales.energy_scale, dtype=torch.float64))
        self.register_buffer("energy_shift", torch.tensor(scales.energy_shift, dtype=torch.float64))
        self.register_buffer("reference_energies", scales.reference_energies)

    def has_loops(self) -> bool:
        """Whether a processor finds its features in loops over neighbours when it is evaluated."""
        if not isinstance(self.descriptor, ExpandingDescriptor) or not may_use_loops() or self.feature_mean.device.type != "cpu":
            return False
        return self.descriptor.has_loops(self.embedding(torch.arange(len(self.numbers))).detach())

    def describe(
        self, graph: AtomicGraph, edges: Edges, species: Int[Tensor, " atom"]
    ) -> tuple[Float[Tensor, "atom channel"], Float[Tensor, "atom feature"]]:
        """Chemistry and geometry: the vector of each atom's element, and the features of its environment."""
        chemistry = self.embedding(species)
        geometry = graph.features if graph.has_stored_features() else self.descriptor(edges, chemistry)
        return chemistry, geometry

    def standardised(self, geometry: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"]) -> Float[Tensor, "atom feature"]:
        """Geometry with the mean 0 that it has in training, in units of its width there, or of the floor where that is larger."""
        return (geometry - row_of_each(self.feature_mean, species)).mul_(row_of_each(self.feature_std.reciprocal(), species))

    def last_layer_features(
        self, chemistry: Float[Tensor, "atom channel"], geometry: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom width"]:
        """What the last layer of the network reads of each atom, dimensionless: `learned` is linear in it."""
        signal: Tensor = self.network.last_layer_features(self.standardised(geometry, species), chemistry, species)
        return signal

    def learned(
        self,
        chemistry: Float[Tensor, "atom channel"],
        standardised: Float[Tensor, "atom feature"],
        species: Int[Tensor, " atom"],
        *,
        spread: bool = True,
    ) -> tuple[Float[Tensor, "atom head"], Float[Tensor, "atom 2"], Float[Tensor, "energy atom feature"]]:
        """What the network has learned: energies of the atoms, s · network + b, eV, variances of the noise, eV² and (eV/Å)², and slopes.

        The slopes are those of every head's V in the standardised geometry, or without `spread` of their mean, eV. All can be
        differentiated once more, slopes in training mode only, unless this is within `torch.no_grad`.
        """
        each = torch.eye(self.n_heads, dtype=standardised.dtype, device=standardised.device)
        heads = self.energy_scale * (each if spread else each.mean(0, keepdim=True))
        of_outputs = functional.pad(heads, (0, self.noise.n_outputs))
        outputs, slopes = self.network.with_slopes(standardised, chemistry, species, of_outputs)
        return *self._read(outputs), slopes

    def _read(self, outputs: Float[Tensor, "atom output"]) -> tuple[Float[Tensor, "atom head"], Float[Tensor, "atom 2"]]:
        """Energies, eV, and variances of the noise, eV² and (eV/Å)², from the outputs of the network."""
        energies, noise = outputs[:, : self.n_heads], self.noise(outputs[:, self.n_heads :])
        return self.energy_scale * energies + self.energy_shift, self.energy_scale.square() * noise

    def given(self, edges: Edges, species: Int[Tensor, " atom"]) -> Float[Tensor, " atom"]:
        """What was known of each atom's energy before: the prior and E0, eV, float64."""
        energy: Tensor = self.prior(edges, species).double() + self.reference_energies[species]
        return energy

    def trainable(self, graph: AtomicGraph, edges: Edges) -> tuple[Float[Tensor, "atom channel"], Float[Tensor, "atom feature"], Pull]:
        """Chemistry and geometry, and how energies that depend on them pull at the edges, in training mode to be differentiated again."""
        chemistry = self.embedding(graph.species)
        if graph.has_stored_features():
            return chemistry, graph.features, pull_of_stored(graph)
        self.descriptor.refuse_beyond_memory(edges, graph.n_atoms)
        return chemistry, *self.descriptor.trainable(edges, chemistry, create_graph=self.training)

    def given_with_pull(
        self, edges: Edges, species: Int[Tensor, " atom"]
    ) -> tuple[Float[Tensor, " atom"], Float[Tensor, "1 edge 3"] | None]:
        """What was `given` of each atom's energy, and its gradient in the edges, None where it is zero; neither can be differentiated."""
        near = self.prior.places(edges, species)
        if len(near) == 0:
            return self.reference_energies.index_select(0, species), None
        are_all = len(near) == len(edges.center)
        some = (edges if are_all else edges.at(near)).as_variables()
        with torch.enable_grad():
            energies = self.given(some, species)
            (gradient,) = gradients(energies.sum(0, keepdim=True), (some.vector,), create_graph=False)
        if not are_all:
            gradient = torch.zeros_like(edges.vector)[None].index_copy(1, near, gradient)
        return energies.detach(), gradient

    def linearised(self, graph: AtomicGraph, edges: Edges, species: Int[Tensor, " atom"]) -> Linearised:
        """Chemistry and geometry, and from ∂V_m/∂G_i of several energies their gradients in the edges."""
        chemistry, stored = self.embedding(species).detach(), graph.has_stored_features()
        geometry, pull = (graph.features, pull_of_stored(graph)) if stored else self.descriptor.linearised(edges, chemistry)
        return chemistry, geometry, lambda slopes: (pull(slopes),)

    def linearised_in(self, sums: tuple[Float[Tensor, "_ atom _"], ...], species: Int[Tensor, " atom"]) -> Linearised:
        """Chemistry and geometry, and from ∂V_m/∂G_i of several energies their gradients in the densities that the descriptor expands.

        Raises:
            TypeError: it expands none.
        """
        chemistry = self.embedding(species).detach()
        if not isinstance(self.descriptor, ExpandingDescriptor):
            raise TypeError(f"{type(self.descriptor).__name__} expands no densities")
        return chemistry, *self.descriptor.linearised_in(sums, chemistry)

    def forward(self, graph: AtomicGraph) -> Prediction:
        """Energy, forces and stress. In training mode the forces can themselves be differentiated."""
        return self.predict(graph, graph.edges())

    def predict(self, graph: AtomicGraph, edges: Edges) -> Prediction:
        """The same from edges of the graph: ∂V/∂r_ij = Σ_f (∂V/∂G_if) (∂G_if/∂r_ij) + ∂V_given/∂r_ij."""
        refuse_inference_mode()
        refuse_reduced_precision(self)
        edges = edges.as_variables()
        with torch.enable_grad():
            chemistry, geometry, pull = self.trainable(graph, edges)
            learned, noise, slopes = self.learned(chemistry, self.standardised(geometry, graph.species), graph.species)
            by_feature = slopes * row_of_each(self.feature_std.reciprocal(), graph.species)
            pulls = pull(by_feature)
        given, pull_of_given = self.given_with_pull(edges, graph.species)
        atomic_energies = (learned.double() + given[:, None]).T
        return joint_prediction(graph, edges, atomic_energies, pulls if pull_of_given is None else pulls + pull_of_given, noise)

    def to_precision(self, dtype: torch.dtype) -> "Potential":
        """The same potential with its arithmetic in `dtype`; reference energies stay in float64."""
        reference_energies = self.reference_energies
        self.to(dtype)
        self.reference_energies = reference_energies
        return self


def row_of_each(table: Float[Tensor, "species feature"], species: Int[Tensor, " atom"]) -> Float[Tensor, "_ feature"]:
    """The row of each atom's element; where there is one element its row, which does for all."""
    return table if len(table) == 1 else table.index_select(0, species)
