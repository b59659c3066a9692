"""Ensembles: several potentials that agree where they know and disagree where they do not.

`Ensemble` is what is evaluated, saved and simulated with, also when it has one member only. How its members come about is the config group:
a subclass of `Recruitment` says how many there are and which seeds they grow from.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.descriptor.stored import is_fixed
from nnpx.graph import AtomicGraph, Block, Edges, Prediction
from nnpx.potential import Potential, forces_and_stress
from nnpx.reduce import sum_atoms_to_structures

#: centres that are evaluated together, by device: on a processor few enough to stay in its cache (tests/benchmarks/RESULTS.md), elsewhere
#: many, to occupy it, though not all, to spare its memory
ATOMS_AT_A_TIME: Final = {"cpu": 1024}
ELSEWHERE: Final = 32768


class Recruitment(ABC):
    """Which members an ensemble has, and how many of them train at a time."""

    n_processes: int  #: members that train at the same time

    @abstractmethod
    def seeds(self, seed: int) -> list[int]:
        """One seed per member; the first member of any ensemble is the single potential of the same seed."""


@final
class Ensemble(nn.Module):
    """Mean and spread of several potentials for the same elements.

        V = ⟨V_m⟩,   F = ⟨F_m⟩,   σ_V² = Σ_m (V_m − V)² / (M − 1),   and likewise for every force component

    Lakshminarayanan et al. 2017, arXiv:1612.01474. Where the descriptor has no trained parameters all members share its evaluation.

    Args:
        members: at least one potential; all know the same elements.
    """

    def __init__(self, members: list[Potential]) -> None:
        super().__init__()
        self.members: Sequence[Potential] = nn.ModuleList(members)  # type: ignore[assignment]  # for torch it holds any module
        self.numbers = members[0].numbers
        self.cutoff_radius = members[0].cutoff_radius
        self.n_members = len(members)
        self.shares_descriptor = all(is_fixed(member.embedding, member.descriptor) for member in members)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the arithmetic; energies are summed in float64."""
        return self.members[0].feature_mean.dtype

    def forward(self, graph: AtomicGraph, *, spread: bool = True) -> Prediction:
        """Means over the members; with `spread`, also how far their forces lie apart, for one backward pass per member."""
        edges = graph.edges()
        parts = [self._evaluate(graph, block, spread=spread) for block in self._blocks(graph, edges)]
        atomic, pulls = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        energies = torch.stack([sum_atoms_to_structures(of_member, graph.owner, graph.n_structures) for of_member in atomic])
        forces, stress = forces_and_stress(graph, edges, pulls.mean(0))
        forces_std = torch.full_like(forces, torch.nan)
        if len(pulls) > 1:
            forces_std = torch.stack([forces_and_stress(graph, edges, pull)[0] for pull in pulls]).std(0)
        return Prediction(
            energy=energies.mean(0),
            forces=forces,
            stress=stress,
            atomic_energies=atomic.mean(0),
            energy_std=energies.std(0) if self.n_members > 1 else torch.full_like(energies[0], torch.nan),
            forces_std=forces_std,
        )

    def _blocks(self, graph: AtomicGraph, edges: Edges) -> Iterable[Block]:
        """The edges in portions, where an atomic energy depends on the edges of its own centre only."""
        atoms = ATOMS_AT_A_TIME.get(graph.positions.device.type, ELSEWHERE)
        is_local = all(member.descriptor.is_local for member in self.members)
        if graph.n_atoms <= atoms or not is_local or graph.has_stored_features():
            return [Block(edges, graph.species, graph.n_atoms)]
        return edges.blocks(atoms, graph.species)

    def _evaluate(
        self, graph: AtomicGraph, block: Block, *, spread: bool
    ) -> tuple[Float[Tensor, "member center"], Float[Tensor, "pull edge 3"]]:
        """E_i of the centres (eV, float64) and ∂V/∂r_ij of their edges: of every member, or without `spread` the mean of the members."""
        edges = block.edges.as_variables()
        with torch.enable_grad():
            atomic = torch.stack(self._atomic_energies(graph, edges, block.species))[:, : block.n_centers]
            energies = atomic.sum(1)
            if spread and self.n_members > 1:
                pulls = _gradients(energies, edges.vector, batched=not graph.has_stored_features())
            else:
                pulls = torch.autograd.grad(energies.mean(), edges.vector)[0][None]
        return atomic.detach(), pulls

    def _atomic_energies(self, graph: AtomicGraph, edges: Edges, species: Int[Tensor, " atom"]) -> list[Float[Tensor, " atom"]]:
        """E_i of every member, eV, float64."""
        first = self.members[0]
        given = first.given(edges, species)
        shared = first.describe(graph, edges, species) if self.shares_descriptor else None
        energies = []
        for member in self.members:
            chemistry, geometry = shared if shared is not None else member.describe(graph, edges, species)
            energies.append(member.learned(chemistry, geometry, species).double() + given)
        return energies


def _gradients(energies: Float[Tensor, " member"], vector: Float[Tensor, "edge 3"], *, batched: bool) -> Float[Tensor, "member edge 3"]:
    """∂V_m/∂r_ij of every member, in one batched backward pass where that is possible."""
    if batched:
        one_each = torch.eye(len(energies), dtype=energies.dtype, device=energies.device)
        return torch.autograd.grad(energies, vector, one_each, is_grads_batched=True)[0]
    return torch.stack([torch.autograd.grad(energy, vector, retain_graph=True)[0] for energy in energies])
