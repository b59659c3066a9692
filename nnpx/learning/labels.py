"""The labels of a round: computed, checked, and counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from ase import Atoms

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import geometry, labels
from nnpx.data.jobs import Batch, Failure, IsolatedAtom
from nnpx.errors import ReferenceEngineError
from nnpx.executor import Executor
from nnpx.executor.labelling import Labelling
from nnpx.learning.label_check import NO_SLOPE, CheckedPoint, LabelCheck
from nnpx.reference import Reference


@final
@dataclass(frozen=True)
class Labels:
    """What came of the structures of a round.

    Args:
        structures: labelled and checked.
        failures: what has no label, and why.
        isolated: energies (eV) of isolated atoms that were asked for.
        n_calls: calculations with the reference engine, failed ones and those of checks included.
    """

    structures: list[Atoms]
    failures: list[Failure]
    isolated: dict[str, float]
    n_calls: int


@final
class Labeller:
    """Labels structures and checks what comes back.

    Args:
        reference: the engine.
        executor: where it runs.
        check: what a label has to satisfy.
        timeout_s: s; of one calculation.
        journal: where finished jobs are kept.
        report: called with the number of jobs done and of all.
    """

    def __init__(
        self,
        *,
        reference: Reference,
        executor: Executor,
        check: LabelCheck,
        timeout_s: float,
        journal: FinishedJobs,
        report: Callable[[int, int], None],
    ) -> None:
        self._check, self._theory, self._journal = check, reference.level_of_theory, journal
        self._labelling = Labelling(
            engine=reference,
            executor=executor,
            journal=journal,
            report=report,
            again=False,  # what failed is part of the round, which has the same outcome however often it is interrupted
            allowed=lambda job: timeout_s * (job.calls if isinstance(job, CheckedPoint) else 1),
        )

    def label(self, structures: Sequence[Atoms], elements: Sequence[str]) -> Labels:
        """Labels of the structures, and the energies of isolated atoms of some elements.

        Some labels are examined, evenly among the structures, and others in the place of those that there is no label of. Where the forces
        of one are not the slope of its energy, the engine is not to be trusted, and all others are examined as well before anything is
        learned from them.

        Raises:
            ReferenceEngineError: not one structure has a label that passes its check. Nothing of them is kept, so that the same command
                asks an engine that was mended again.
        """
        examined = self._examined(structures)
        jobs = self._jobs(structures, examined)
        lone = [IsolatedAtom(f"isolated {symbol}", symbol) for symbol in elements]
        batches = self._labelling.batches([*jobs, *lone])
        n_calls = sum(job.calls for job in jobs) + len(lone)
        wanted, labelled = len(examined), [k for k in range(len(structures)) if batches[k].structures]
        while rest := [k for k in labelled if k not in examined]:
            told = [batches[k] for k in examined if batches[k].structures or _is_no_slope(batches[k])]
            more = rest if any(map(_is_no_slope, told)) else rest[: wanted - len(told)]
            if not more:
                break
            n_calls += self._examine_also(more, batches)
            examined += more
        found = self._found(batches[: len(structures)], batches[len(structures) :], n_calls)
        if structures and not found.structures:
            expected = f"a label that can be learned from for at least one of {len(structures)} structures"
            do = "If another engine labelled the data, choose it (reference=…); else look at this one and run the same command again."
            reasons = [failure.reason for failure in found.failures]
            raise self._refusal(expected, next((reason for reason in reasons if NO_SLOPE in reason), reasons[0]), do)
        return found

    def examine(self, structures: Sequence[Atoms]) -> Labels:
        """Labels some structures that are labelled already again: they must come from this engine, and pass the same check.

        Raises:
            ReferenceEngineError: an engine that answers otherwise, or a label that fails its check.
        """
        chosen = self._examined(structures)
        again = self.label([_bare(structures[k]) for k in chosen], []) if chosen else Labels([], [], {}, 0)
        if again.failures:
            do = "Look at the reference engine, or at the structures, and run the same command again."
            raise self._refusal("labels that pass their check", again.failures[0].reason, do)
        for old, new in zip([structures[k] for k in chosen], again.structures, strict=True):
            if found := self._check.difference(old, new):
                do = "Choose the reference engine that labelled the data, or give these its unit and its zero of energy."
                raise self._refusal("the labels that the data have", found, do)
        return again

    def _examine_also(self, which: Sequence[int], batches: list[Batch]) -> int:
        """Examines labels that are there already, and puts what comes of it in their places; the calculations that it takes."""
        jobs = [self._check.job(f"structure {k}", batches[k].structures[0], examined=True) for k in which]
        for k, batch in zip(which, self._labelling.batches(jobs), strict=True):
            batches[k] = batch
        return sum(job.calls for job in jobs)

    def n_calls_of_examination(self, structures: Sequence[Atoms]) -> int:
        """Calculations that `examine` takes."""
        return sum(self._check.job("", _bare(structures[k]), examined=True).calls for k in self._examined(structures))

    def _examined(self, structures: Sequence[Atoms]) -> list[int]:
        """Which of the structures are examined: evenly among them."""
        chosen: list[int] = np.linspace(0, len(structures) - 1, min(self._check.n_examined, len(structures)), dtype=int).tolist()
        return chosen

    def _refusal(self, expected: str, found: str, do: str) -> ReferenceEngineError:
        """The error that ends a labelling; what the engine answered is forgotten, for no answer of it was to be trusted."""
        self._journal.remove()
        return ReferenceEngineError(self._theory, expected=expected, found=found, do=do)

    def _jobs(self, structures: Sequence[Atoms], examined: Sequence[int]) -> list[CheckedPoint]:
        return [self._check.job(f"structure {k}", atoms, examined=k in examined) for k, atoms in enumerate(structures)]

    def _found(self, batches: Sequence[Batch], lone: Sequence[Batch], n_calls: int) -> Labels:
        isolated = {str(atoms.symbols[0]): float(labels(atoms)["energy"]) for batch in lone for atoms in batch.structures}
        failures = [failure for batch in [*batches, *lone] for failure in batch.failures]
        return Labels([atoms for batch in batches for atoms in batch.structures], failures, isolated, n_calls)


def _is_no_slope(batch: Batch) -> bool:
    return any(NO_SLOPE in failure.reason for failure in batch.failures)


def _bare(atoms: Atoms) -> Atoms:
    """The geometry without its labels."""
    return geometry(atoms, info=atoms.info)
