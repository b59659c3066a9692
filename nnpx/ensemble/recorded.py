"""An ensemble for the same atoms again and again, as in molecular dynamics."""

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Final, final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from nnpx.derivatives import refuse_inference_mode, refuse_reduced_precision
from nnpx.ensemble import Ensemble, OfDensities
from nnpx.errors import NNPXError
from nnpx.graph import AtomicGraph, Block, Edges, Prediction
from nnpx.neighbors import graph_from_list
from nnpx.speed.compiled import without_loops
from nnpx.speed.cuda_graph import RecordingError, captures
from nnpx.speed.recording import Function, record
from nnpx.speed.threads import FEWEST_ATOMS, for_loops, in_threads, n_threads
from nnpx.structures import TOO_CLOSE

#: how far apart the positions are by which a recording is checked, Å, and densities, as a part of them
STEP: Final = 0.01
#: and the factor by which they are, so that some pairs are beyond the cutoff
STRETCH: Final = 2.0
#: atoms whose densities are evaluated from a recording: of more the loops take most of the time
MOST_ATOMS: Final = 512


@final
class Recorded:
    """Predictions of an ensemble for molecules that stay the same and move, from a recording of its operations.

    All pairs of a molecule are listed, so neither an operation nor its shape depends on where the atoms are; what does not vanish beyond
    the cutoff by itself is found out, and not recorded. Predictions are those of the ensemble but for rounding; on a processor they are
    for the same positions the same to the last bit, whatever was evaluated before.

    Args:
        ensemble: it must not change afterwards.
        structures: the molecules; without a cell.
        spread: whether predictions include how far the forces of the members lie apart.
        compiled: see `nnpx.speed.recording.record`.

    Raises:
        RecordingError: the ensemble decides by the positions how to evaluate them, or pairs beyond its cutoff count.
        SpeciesError: a structure holds an element that the potential does not know.
        GeometryError: atoms coincide, or positions make no sense.
    """

    def __init__(self, ensemble: Ensemble, structures: Sequence[Atoms], *, spread: bool, compiled: bool = False) -> None:
        molecules = [Atoms(atoms.numbers, atoms.positions) for atoms in structures]  # without labels
        at_cutoff, numbers, dtype, device = ensemble.cutoff_radius, ensemble.numbers, ensemble.dtype, ensemble.device
        graph = graph_from_list(molecules, numbers=numbers, cutoff=math.inf, where="the molecules", dtype=dtype).to(device)

        def evaluate(positions: Float[Tensor, "atom 3"]) -> tuple[Tensor, ...]:
            moved = graph.with_(positions=positions.to(dtype))
            edges = replace(moved.edges(), complete=True)
            return (*vars(ensemble.predict(moved, edges, spread=spread)).values(), edges.distance.amin())

        def truth(positions: Float[Tensor, "atom 3"]) -> tuple[Tensor, ...]:
            for atoms, own in zip(molecules, positions.split([len(atoms) for atoms in molecules]), strict=True):
                atoms.positions = own.cpu().numpy()
            moved = graph_from_list(molecules, numbers=numbers, cutoff=at_cutoff, where="the molecules", dtype=dtype).to(device)
            closest = graph.with_(positions=positions.to(dtype)).edges().distance.amin()
            return (*vars(ensemble(moved, spread=spread)).values(), closest)

        positions = torch.from_numpy(np.concatenate([atoms.positions for atoms in molecules]))
        noise = torch.randn(positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        others = [(positions + STEP * noise).to(device), (STRETCH * positions).to(device)]
        with without_loops() if compiled else nullcontext():
            self._play: Function = record(evaluate, positions.to(device), truth=truth, others=others, dtype=dtype, compiled=compiled)

    def __call__(self, positions: Float[Tensor, "atom 3"]) -> Prediction | None:
        """The prediction for positions in Å; None where atoms coincide, or positions or forces are not finite."""
        *values, closest = self._play(positions)
        prediction = Prediction(*values)
        return prediction if float(closest) >= TOO_CLOSE and bool(prediction.forces.isfinite().all()) else None


@final
class RecordedParts:
    """The same in about equal parts, which are evaluated side by side: as many as there are threads now, or fewer where that pays.

    Each has one thread of torch's, as its operations are small.

    Parts of the same molecules share a recording. Args and errors are those of `Recorded`.
    """

    def __init__(self, ensemble: Ensemble, structures: Sequence[Atoms], *, spread: bool, compiled: bool = False) -> None:
        sizes = np.array([len(atoms) for atoms in structures])
        n_parts = min(n_threads(), max(1, int(sizes.sum()) // FEWEST_ATOMS)) if ensemble.device.type == "cpu" else 1
        part_of = (n_parts * (sizes.cumsum() - sizes / 2) / sizes.sum()).astype(int)  # where the middle of each is among all atoms
        self._parts: list[tuple[Recorded, int]] = []  # with how many atoms each has
        known: dict[tuple[bytes, ...], Recorded] = {}
        for part in np.unique(part_of):
            own = [atoms for atoms, its in zip(structures, part_of, strict=True) if its == part]
            kind = tuple(atoms.numbers.tobytes() for atoms in own)
            if kind not in known:
                with for_loops():
                    known[kind] = Recorded(ensemble, own, spread=spread, compiled=compiled)
            self._parts.append((known[kind], sum(len(atoms) for atoms in own)))

    def __call__(self, positions: Float[Tensor, "atom 3"]) -> Prediction | None:
        """The prediction for positions in Å; None where atoms coincide, or positions or forces are not finite."""
        recorded, sizes = zip(*self._parts, strict=True)
        with for_loops():
            predictions = in_threads(_play, zip(recorded, positions.split(sizes), strict=True))
        return Prediction.joined([one for one in predictions if one is not None]) if None not in predictions else None


def _play(part: tuple[Recorded, Tensor]) -> Prediction | None:
    recorded, positions = part
    return recorded(positions)


def record_of_densities(ensemble: Ensemble, graph: AtomicGraph, edges: Edges, *, spread: bool) -> OfDensities | None:
    """What the ensemble makes of the densities around these atoms, recorded; None where it evaluates none by themselves, or many atoms.

    Which pairs there are changes from step to step, how many densities there are does not, so this part of an evaluation has the same
    operations as long as the atoms have the same elements.
    """
    block = Block(edges, graph.species, graph.n_atoms)
    if graph.n_atoms > MOST_ATOMS or not ensemble.has_loops() or (expanded := ensemble.expanded(graph, block)) is None:
        return None
    of_densities, shapes = ensemble.of_densities(block, spread=spread), [density.shape for density in expanded.sums]

    def of_numbers(numbers: Float[Tensor, " number"]) -> tuple[Tensor, ...]:
        parts = numbers.split([shape.numel() for shape in shapes])
        return of_densities(*(part.view(shape) for part, shape in zip(parts, shapes, strict=True)))

    numbers = _flat(*expanded.sums)
    noise = torch.randn(numbers.shape, generator=torch.Generator().manual_seed(0), dtype=numbers.dtype)
    others = [numbers * (1.0 + STEP * noise), STRETCH * numbers]
    try:
        play = record(of_numbers, numbers, truth=of_numbers, others=others, dtype=ensemble.dtype)
    except RecordingError as obstacle:
        warnings.warn(f"these atoms are evaluated without a recording, a little slower: {obstacle}", stacklevel=2)
        return None
    return lambda *sums: play(_flat(*sums))


def _flat(*tensors: Tensor) -> Float[Tensor, " number"]:
    """All numbers in a row; of one tensor not copied."""
    return tensors[0].flatten() if len(tensors) == 1 else torch.cat([tensor.flatten() for tensor in tensors])


@final
class Recordings:
    """Predictions of an ensemble for whatever atoms are evaluated again and again: recorded once that pays.

    Small molecules are recorded whole (`RecordedParts`), of others what depends on no pair (`record_of_densities`). Only the latest are
    remembered. A copy of the object has no recordings: it makes its own.

    Args:
        ensemble: must not change afterwards.
        after: evaluations of the same molecules that go before their recording; 0 records at once.
        compiled: whether small molecules are compiled, see `nnpx.Calculator`.
    """

    def __init__(self, ensemble: Ensemble, *, after: int, compiled: bool = False) -> None:
        self.ensemble, self.after, self.compiled = ensemble, after, compiled
        in_loops, descriptors = ensemble.has_loops() and not compiled, [member.descriptor for member in ensemble.members]
        self._most_atoms = min(one.most_complete if in_loops else one.most_complete_without_loops for one in descriptors)
        self._molecules: list[tuple[bytes, bytes]] = []
        self._may_record, self._evaluations = False, 0
        self._recorded: dict[bool, RecordedParts | None] = {}
        self._of_densities: dict[bool, tuple[Tensor, OfDensities | None]] = {}  # and for which elements

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Recordings, after=self.after, compiled=self.compiled), (self.ensemble,)

    def predict(self, structures: Sequence[Atoms], positions: Float[np.ndarray, "atom 3"], *, spread: bool) -> Prediction | None:
        """The prediction from a recording; None where there is none, or where it found the positions to make no sense.

        Args:
            structures: the molecules.
            positions: where their atoms are now, Å.
            spread: whether to find how far the forces of the members lie apart.

        Raises:
            ConfigError: this is within `torch.inference_mode`, where nothing is differentiated, or torch multiplies in less than float32: a
                recording made there would be wrong.
        """
        refuse_inference_mode()
        refuse_reduced_precision(self.ensemble)
        molecules = [(atoms.numbers.tobytes(), atoms.pbc.tobytes()) for atoms in structures]
        if molecules != self._molecules:
            self._molecules, self._evaluations, self._recorded, self._of_densities = molecules, 0, {}, {}
            self._may_record = self._are_few_and_open(structures)
        self._evaluations += 1
        if not self._may_record or self._evaluations <= self.after:
            return None
        recorded = self._of(structures, spread=spread)
        return recorded(torch.from_numpy(positions)) if recorded else None

    def evaluate(self, graph: AtomicGraph, edges: Edges, *, spread: bool) -> Prediction:
        """The prediction by the ensemble, with what is recorded of it, for structures of which `predict` has none."""
        recorded = self._recorded_part(graph, edges, spread=spread) if self._evaluations > self.after else None
        found: Prediction = self.ensemble(graph, edges, spread=spread, recorded=recorded)
        return found

    def _recorded_part(self, graph: AtomicGraph, edges: Edges, *, spread: bool) -> OfDensities | None:
        if spread not in self._of_densities or not torch.equal(self._of_densities[spread][0], graph.species):
            self._of_densities[spread] = graph.species, record_of_densities(self.ensemble, graph, edges, spread=spread)
        return self._of_densities[spread][1]

    def _of(self, structures: Sequence[Atoms], *, spread: bool) -> RecordedParts | None:
        if spread not in self._recorded:
            try:
                self._recorded[spread] = RecordedParts(self.ensemble, structures, spread=spread, compiled=self.compiled)
            except NNPXError:  # the evaluation without a recording says what is wrong with the structures
                return None
            except RecordingError as obstacle:
                warnings.warn(f"these molecules are evaluated without a recording, several times slower: {obstacle}", stacklevel=2)
                self._recorded[spread] = None
        return self._recorded[spread]

    def _are_few_and_open(self, structures: Sequence[Atoms]) -> bool:
        """Whether recordings are made of such structures, and are faster."""
        sizes = [len(atoms) for atoms in structures]
        are_open = not any(atoms.pbc.any() for atoms in structures)
        may_record = self.ensemble.device.type == "cpu" or captures(self.ensemble.device)
        return are_open and may_record and min(sizes) > 1 and max(sizes) <= self._most_atoms
