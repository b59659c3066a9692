"""Ensembles: several potentials that agree where they know and disagree where they do not.

`Ensemble` is what is evaluated, saved and simulated with, also when it has one member only. How its members come about is the config group:
a subclass of `Recruitment` says how many there are, which seeds they grow from, and whether each has one head or several.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, final

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.derivatives import joint_prediction, mean_of_members, refuse_inference_mode, refuse_reduced_precision
from nnpx.descriptor.expanding import Expanded, ExpandingDescriptor
from nnpx.ensemble.shared import begin_alike, describe_alike, expand_alike, scale_alike
from nnpx.errors import SpeciesError
from nnpx.graph import AtomicGraph, Block, Edges, Prediction
from nnpx.potential import Linearised, Potential, row_of_each
from nnpx.speed.threads import FEWEST_ATOMS, for_loops, in_threads, n_threads
from nnpx.uncertainty import Calibration
from nnpx.uncertainty.mahalanobis import Mahalanobis
from nnpx.uncertainty.ranges import Ranges

#: most centres that are evaluated together, by device: on a processor few enough to stay in its cache (tests/benchmarks/RESULTS.md),
#: elsewhere many, to occupy it, though not all, to spare its memory
ATOMS_AT_A_TIME: Final = {"cpu": 1024}
ELSEWHERE: Final = 32768


#: from the densities around the atoms of a block: what every member has learned of E_i (member, center), eV, float64, the variances of the
#: noise (potential, center, 2), and the gradients of every member, or their mean, in each density; nobody may write to these
OfDensities = Callable[..., tuple[Tensor, ...]]


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
    labels' noise is the mean of what the potentials say of it, and no part of σ. Potentials that have the same descriptor share its
    evaluation; where it begins with an expansion into which nothing trained enters, they share that (`nnpx.ensemble.shared`).

    Args:
        members: at least one potential; all know the same elements. What they share is found out here, so they must not change afterwards.
            Cutoffs, priors and reference energies may differ.
        calibration: makes the spread a standard deviation of the errors; without it stays σ_V and σ_F.
        ranges: of the features of the first member in training; None where they are not known.
        mahalanobis: of what the last layer of the first member reads in training; None where they are not known.

    Raises:
        SpeciesError: members know different elements, or the same in another order.
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
        self.numbers = _numbers_of_all(members)
        self.cutoff_radius = max(member.cutoff_radius for member in members)
        self.n_members = sum(member.n_heads for member in members)
        first, others = members[0], members[1:]
        self.shares_descriptor = all(describe_alike(first, member) for member in others)
        self.shares_expansion = all(expand_alike(first, member) for member in others)
        self.shares_scales = all(scale_alike(first, member) for member in others)
        self.shares_given = all(begin_alike(first, member) for member in others)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the arithmetic; energies are summed in float64."""
        return self.members[0].feature_mean.dtype

    @property
    def device(self) -> torch.device:
        """Where it is evaluated."""
        return self.members[0].feature_mean.device

    def forward(
        self, graph: AtomicGraph, edges: Edges | None = None, *, spread: bool = True, recorded: OfDensities | None = None
    ) -> Prediction:
        """Means over the members; with `spread`, also how far their forces lie apart.

        Args:
            graph: the structures.
            edges: their pairs, where these are known already.
            spread: whether it is asked for.
            recorded: what `of_densities` gives for these atoms, all of which are evaluated together, where it was recorded.
        """
        with self.in_its_threads(graph.n_atoms):
            return self.predict(graph, graph.edges() if edges is None else edges, spread=spread, recorded=recorded)

    def in_its_threads(self, n_atoms: int) -> AbstractContextManager[None]:
        """Context manager in which so many atoms are evaluated fastest, also where others keep the processor busy.

        On a processor torch has one thread: for few atoms, and where descriptors have loops, which share the others, or blocks of many
        atoms do. Only what is done in large operations it shares itself.
        """
        may_share = self.device.type == "cpu" and torch.get_num_threads() > 1
        return for_loops() if may_share and (n_atoms < 2 * FEWEST_ATOMS or self.has_loops()) else nullcontext()

    def has_loops(self) -> bool:
        """Whether all members are evaluated in loops here."""
        who_expands = self.members[:1] if self.shares_expansion else self.members  # tables are made for these only
        return all(member.has_loops() for member in who_expands)

    def predict(self, graph: AtomicGraph, edges: Edges, *, spread: bool, recorded: OfDensities | None = None) -> Prediction:
        """The same in the threads that there are."""
        refuse_inference_mode()
        refuse_reduced_precision(self)
        evaluate, blocks = partial(self._evaluate, graph, spread=spread, recorded=recorded), self._blocks(graph, edges)
        parts = in_threads(evaluate, blocks) if self.device.type == "cpu" else [evaluate(block) for block in blocks]
        atomic, pulls, noise = (_joined(part, 1) for part in zip(*parts, strict=True))
        return self.calibration(joint_prediction(graph, edges, atomic, pulls, mean_of_members(noise), slope_of_spread=True), graph)

    def _blocks(self, graph: AtomicGraph, edges: Edges) -> Iterable[Block]:
        """The edges in portions, where an atomic energy depends on the edges of its own centre only."""
        is_local = all(member.descriptor.is_local for member in self.members) and not graph.has_stored_features()
        most = ATOMS_AT_A_TIME.get(graph.positions.device.type, ELSEWHERE) if is_local else graph.n_atoms
        if not graph.has_stored_features():
            self.members[0].descriptor.refuse_beyond_memory(edges, graph.n_atoms, at_a_time=most * n_threads())
        n_blocks = math.ceil(graph.n_atoms / most)
        return edges.blocks(math.ceil(graph.n_atoms / n_blocks), graph.species)  # about equally many, as threads wait for the last

    def _evaluate(
        self, graph: AtomicGraph, block: Block, *, spread: bool, recorded: OfDensities | None = None
    ) -> tuple[Float[Tensor, "member center"], Float[Tensor, "pull edge 3"], Float[Tensor, "potential center 2"]]:
        """E_i of the centres (eV, float64), ∂V/∂r_ij of their edges and the variances of the noise.

            ∂V_m/∂r_ij = Σ_f (∂V_m/∂G_if) (∂G_if/∂r_ij) + ∂V_given/∂r_ij

        The gradients are those of every member, or without `spread` their mean. The second factor costs most and is the same for all
        members that share the descriptor, and half of it for those that share its expansion.
        """
        given, pull_of_given = self._given(block, spread=spread)
        expanded = self.expanded(graph, block)
        if expanded is None:
            atomic, noise, pulls = self._of_linearised(
                block, lambda member: member.linearised(graph, block.edges, block.species), spread=spread
            )
        else:
            atomic, noise, *gradients = (recorded or self.of_densities(block, spread=spread))(*expanded.sums)
            pulls = expanded.pull(tuple(gradients))
        return atomic + given, pulls if pull_of_given is None else pulls + pull_of_given, noise

    def expanded(self, graph: AtomicGraph, block: Block) -> Expanded | None:
        """What all members share of their descriptors, where it is evaluated by itself."""
        descriptor = self.members[0].descriptor
        if graph.has_stored_features() or not self.shares_expansion or not isinstance(descriptor, ExpandingDescriptor):
            return None
        return descriptor.expanded(block.edges, self.members[0].embedding(block.species).detach())

    def of_densities(self, block: Block, *, spread: bool) -> OfDensities:
        """What the members make of the densities around the atoms of a block, which depends on no pair."""

        def evaluate(*sums: Tensor) -> tuple[Tensor, ...]:
            return self._of_linearised(block, lambda member: member.linearised_in(sums, block.species), spread=spread)

        return evaluate

    def _of_linearised(self, block: Block, linearised: Callable[[Potential], Linearised], *, spread: bool) -> tuple[Tensor, ...]:
        """Energies and noise from descriptors that are linearised in edges or densities, and the gradients in these."""
        atomic, found, noises = [], [], []
        for members in [list(self.members)] if self.shares_descriptor else [[member] for member in self.members]:
            chemistry, geometry, gradients_by = linearised(members[0])
            scaled = members[:1] if self.shares_scales else members
            standardised = _together([member.standardised(geometry, block.species) for member in scaled])
            per_width = _together([row_of_each(member.feature_std.reciprocal(), block.species) for member in scaled])
            with torch.no_grad():
                learned = [
                    member.learned(chemistry, own, block.species, spread=spread)
                    for member, own in zip(members, standardised.expand(len(members), -1, -1), strict=True)
                ]
            energies, noise, by_feature = zip(*learned, strict=True)
            slopes = _together(by_feature) * per_width[:, None]  # (member, head, atom, feature)
            found.append(gradients_by(slopes.flatten(0, 1) if spread or len(members) == 1 else slopes.mean(0)))
            atomic.append(_joined([of_heads[: block.n_centers].double().T for of_heads in energies], 0))
            noises.append(_together(noise)[:, : block.n_centers])
        joint = (_joined(by, 0) if spread or len(by) == 1 else torch.stack(by).mean(0) for by in zip(*found, strict=True))
        return _joined(atomic, 0), _joined(noises, 0), *joint

    def _given(self, block: Block, *, spread: bool) -> tuple[Float[Tensor, "_ center"], Float[Tensor, "_ edge 3"] | None]:
        """What was known of the energies of the centres before (eV), and its gradient in the edges: of each member where they differ."""
        if self.shares_given:
            energies, pull = _given_by(self.members[0], block)
            return energies[None], pull
        each = [one for member in self.members for one in [_given_by(member, block)] * member.n_heads]
        nothing = torch.zeros_like(block.edges.vector)[None]
        pulls = torch.cat([nothing if pull is None else pull for _, pull in each])
        return torch.stack([energies for energies, _ in each]), pulls if spread else pulls.mean(0, keepdim=True)


def _given_by(member: Potential, block: Block) -> tuple[Float[Tensor, " center"], Float[Tensor, "1 edge 3"] | None]:
    """What a member knew of the energies of the centres before (eV, float64), and its gradient in the edges, None where it is zero."""
    energies, pull = member.given_with_pull(block.edges, block.species)
    return energies[: block.n_centers], pull


def _numbers_of_all(members: list[Potential]) -> list[int]:
    """The elements that all members know."""
    numbers = members[0].numbers
    for k, member in enumerate(members[1:], start=1):
        if member.numbers != numbers:
            raise SpeciesError(
                f"member {k} of the ensemble",
                expected=f"a potential for {_symbols(numbers)}, as member 0 is",
                found=f"one for {_symbols(member.numbers)}",
                do="Join potentials that were trained on the same elements, in the order of their atomic numbers.",
            )
    return numbers


def _symbols(numbers: list[int]) -> str:
    return ", ".join(chemical_symbols[number] for number in numbers)


def _together(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Stacked; one alone is not copied."""
    return torch.stack(tuple(tensors), dim) if len(tensors) > 1 else tensors[0].unsqueeze(dim)


def _joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """One behind the other; one alone is not copied."""
    return torch.cat(tuple(tensors), dim) if len(tensors) > 1 else tensors[0]
