"""Ensembles: several potentials that agree where they know and disagree where they do not.

`Ensemble` is what is evaluated, saved and simulated with, also when it has one member only. How its members come about is the config group:
a subclass of `Recruitment` says how many there are, which seeds they grow from, and whether each has one head or several.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.compiled import may_use_loops
from nnpx.derivatives import gradients, joint_prediction
from nnpx.descriptor.expanding import Expanded, ExpandingDescriptor
from nnpx.descriptor.stored import is_fixed
from nnpx.graph import AtomicGraph, Block, Edges, Prediction
from nnpx.potential import Potential, row_of_each
from nnpx.threads import FEWEST_ATOMS, for_loops, in_threads
from nnpx.uncertainty import Calibration
from nnpx.uncertainty.mahalanobis import Mahalanobis
from nnpx.uncertainty.ranges import Ranges

#: most centres that are evaluated together, by device: on a processor few enough to stay in its cache (tests/benchmarks/RESULTS.md),
#: elsewhere many, to occupy it, though not all, to spare its memory
ATOMS_AT_A_TIME: Final = {"cpu": 1024}
ELSEWHERE: Final = 32768


class Recruitment(ABC):
    """Which members an ensemble has, and how many of them train at a time."""

    n_processes: int  #: members that train at the same time
    n_heads: int = 1  #: last layers of each member's network, which count as members themselves

    @abstractmethod
    def seeds(self, seed: int) -> list[int]:
        """One seed per member; the first member of any ensemble is the single potential of the same seed."""


@final
class Ensemble(nn.Module):
    """Mean and spread of several potentials for the same elements.

        V = ⟨V_m⟩,   F = ⟨F_m⟩,   σ_V² = Σ_m (V_m − V)² / (M − 1),   and likewise for every force component

    Lakshminarayanan et al. 2017, arXiv:1612.01474. Where a potential has several heads, each of them is a member. The variance of the
    labels' noise is the mean of what the potentials say of it, and no part of σ. Where the descriptor has no trained parameters all
    potentials share its evaluation; where it begins with an expansion into which nothing trained enters, they share that.

    Args:
        members: at least one potential; all know the same elements. What they share is found out here, so they must not change afterwards.
        calibration: makes the spread a standard deviation of the errors; without it stays σ_V and σ_F.
        ranges: of the features of the first member in training; None where they are not known.
        mahalanobis: of what the last layer of the first member reads in training; None where they are not known.
    """

    def __init__(
        self,
        members: list[Potential],
        calibration: Calibration | None = None,
        ranges: Ranges | None = None,
        mahalanobis: Mahalanobis | None = None,
    ) -> None:
        super().__init__()
        self.calibration, self.ranges, self.mahalanobis = calibration or Calibration(), ranges, mahalanobis
        self.members: Sequence[Potential] = nn.ModuleList(members)  # type: ignore[assignment]  # for torch it holds any module
        self.numbers = members[0].numbers
        self.cutoff_radius = members[0].cutoff_radius
        self.n_members = sum(member.n_heads for member in members)
        self.shares_descriptor = all(is_fixed(member.embedding, member.descriptor) for member in members)
        self.shares_expansion = all(_expands_alike(member, members[0]) for member in members[1:])
        self.shares_scales = all(_same_scales(member, members[0]) for member in members)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the arithmetic; energies are summed in float64."""
        return self.members[0].feature_mean.dtype

    @property
    def device(self) -> torch.device:
        """Where it is evaluated."""
        return self.members[0].feature_mean.device

    def forward(self, graph: AtomicGraph, *, spread: bool = True) -> Prediction:
        """Means over the members; with `spread`, also how far their forces lie apart."""
        with self.in_its_threads(graph.n_atoms):
            return self.predict(graph, graph.edges(), spread=spread)

    def in_its_threads(self, n_atoms: int) -> AbstractContextManager[None]:
        """Within, so many atoms are evaluated soonest: some hundred of them by loops that share the threads, if descriptors have loops."""
        is_one_block = self.device.type == "cpu" and 2 * FEWEST_ATOMS <= n_atoms <= ATOMS_AT_A_TIME["cpu"]
        has_to_share = is_one_block and torch.get_num_threads() > 1
        return for_loops() if has_to_share and may_use_loops() and all(map(self._has_loops, self.members)) else nullcontext()

    def _has_loops(self, member: Potential) -> bool:
        return isinstance(member.descriptor, ExpandingDescriptor) and member.descriptor.has_loops(self.dtype)

    def predict(self, graph: AtomicGraph, edges: Edges, *, spread: bool) -> Prediction:
        """The same, of edges that are known already."""
        evaluate, blocks = partial(self._evaluate, graph, spread=spread), self._blocks(graph, edges)
        parts = in_threads(evaluate, blocks) if self.device.type == "cpu" else [evaluate(block) for block in blocks]
        atomic, pulls, noise = (_joined(part, 1) for part in zip(*parts, strict=True))
        return self.calibration(joint_prediction(graph, edges, atomic, pulls, noise.mean(0)), graph)

    def _blocks(self, graph: AtomicGraph, edges: Edges) -> Iterable[Block]:
        """The edges in portions, where an atomic energy depends on the edges of its own centre only."""
        is_local = all(member.descriptor.is_local for member in self.members) and not graph.has_stored_features()
        most = ATOMS_AT_A_TIME.get(graph.positions.device.type, ELSEWHERE) if is_local else graph.n_atoms
        n_blocks = math.ceil(graph.n_atoms / most)
        return edges.blocks(math.ceil(graph.n_atoms / n_blocks), graph.species)  # about equally many, as threads wait for the last

    def _evaluate(
        self, graph: AtomicGraph, block: Block, *, spread: bool
    ) -> tuple[Float[Tensor, "member center"], Float[Tensor, "pull edge 3"], Float[Tensor, "potential center 2"]]:
        """E_i of the centres (eV, float64), ∂V/∂r_ij of their edges and the variances of the noise.

            ∂V_m/∂r_ij = Σ_f (∂V_m/∂G_if) (∂G_if/∂r_ij) + ∂V_given/∂r_ij

        The gradients are those of every member, or without `spread` their mean. The second factor costs most and is the same for all
        members that share the descriptor, and half of it for those that share its expansion.
        """
        given, pull_of_given = self._given(block)
        expanded = self._expanded(graph, block)
        atomic, found, noises = [], [], []
        for members in [list(self.members)] if self.shares_descriptor else [[member] for member in self.members]:
            chemistry, geometry, gradients_by = members[0].linearised(graph, block.edges, block.species, expanded)
            scaled = members[:1] if self.shares_scales else members
            standardised = _together([member.standardised(geometry, block.species) for member in scaled])
            per_width = _together([row_of_each(member.feature_std.reciprocal(), block.species) for member in scaled])
            # for every member a variable of its own: one backward pass finds the slopes of them all
            variables = tuple(own.detach().requires_grad_() for own in standardised.expand(len(members), -1, -1))
            with torch.enable_grad():
                learned = [member.learned(chemistry, own, block.species) for member, own in zip(members, variables, strict=True)]
                energies = _together([energy.double().T for energy, _ in learned])[..., : block.n_centers]
                heads = energies.sum(2) if spread else energies.sum(2).mean(1, keepdim=True)
                slopes = _together(gradients(heads.sum(0), variables, create_graph=False), 1) * per_width  # (head, member, atom, feature)
            slopes = slopes.transpose(0, 1).flatten(0, 1) if spread or len(members) == 1 else slopes.mean(1)
            atomic.append(energies.detach().flatten(0, 1) + given)
            found.append(gradients_by(slopes))
            noises.append(_together([noise.detach()[: block.n_centers] for _, noise in learned]))
        joint = tuple(_joined(by, 0) if spread or len(by) == 1 else torch.stack(by).mean(0) for by in zip(*found, strict=True))
        pulls = joint[0] if expanded is None else expanded.pull(joint)
        return _joined(atomic, 0), pulls if pull_of_given is None else pulls + pull_of_given, _joined(noises, 0)

    def _expanded(self, graph: AtomicGraph, block: Block) -> Expanded | None:
        """What all members share of their descriptors."""
        descriptor = self.members[0].descriptor
        if graph.has_stored_features() or not self.shares_expansion or not isinstance(descriptor, ExpandingDescriptor):
            return None
        return descriptor.expanded(block.edges, self.members[0].embedding(block.species).detach())

    def _given(self, block: Block) -> tuple[Float[Tensor, " center"], Float[Tensor, "1 edge 3"] | None]:
        """What was known of the energies of the centres before (eV, float64), and its gradient in the edges, None where it is zero."""
        near = None if block.edges.complete else self.members[0].prior.places(block.edges, block.species)
        if near is not None and len(near) == 0:
            return self.members[0].reference_energies.index_select(0, block.species[: block.n_centers]), None
        edges = (block.edges if near is None else block.edges.at(near)).as_variables()
        with torch.enable_grad():
            energies = self.members[0].given(edges, block.species)[: block.n_centers]
        (gradient,) = gradients(energies.sum(0, keepdim=True), (edges.vector,), create_graph=False)
        if near is not None:
            gradient = torch.zeros_like(block.edges.vector)[None].index_copy(1, near, gradient)
        return energies.detach(), gradient


def _together(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Stacked; one alone is not copied."""
    return torch.stack(tuple(tensors), dim) if len(tensors) > 1 else tensors[0].unsqueeze(dim)


def _joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """One behind the other; one alone is not copied."""
    return torch.cat(tuple(tensors), dim) if len(tensors) > 1 else tensors[0]


def _expands_alike(one: Potential, other: Potential) -> bool:
    """Whether what one expands is what the other would."""
    if not isinstance(one.descriptor, ExpandingDescriptor) or not one.descriptor.expands_like(other.descriptor):
        return False
    every = torch.arange(len(one.numbers), device=one.feature_mean.device)
    return torch.equal(one.embedding(every), other.embedding(every))


def _same_scales(one: Potential, other: Potential) -> bool:
    """Whether the features of both are standardised alike, as those of members that were trained on the same structures."""
    return torch.equal(one.feature_mean, other.feature_mean) and torch.equal(one.feature_std, other.feature_std)
