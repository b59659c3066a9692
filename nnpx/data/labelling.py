"""Labelling in parallel processes, which can be killed at any time and goes on where it stopped.

Every finished job is one line of an append-only journal. A half-written last line is what a kill leaves behind: its job is done again.
Results come back in the order of the jobs, whatever the number of processes, and each process computes with one thread, so that the same
jobs give the same bytes.
"""

import multiprocessing
import multiprocessing.connection
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from nnpx.data.frames import record, restore
from nnpx.data.jobs import Batch, Engine, Failure, Job
from nnpx.errors import DataError, ReferenceEngineError
from nnpx.files import JsonLines
from nnpx.processes import ONE_THREAD, count_cores, end_pool, end_with_parent, environment


@final
class FinishedJobs:
    """Finished jobs, one JSON line each, by the key of the job.

    Args:
        path: the file; its folder is made when the first line is written.
    """

    def __init__(self, *, path: Path) -> None:
        self.path = path
        self._lines = JsonLines(path)

    def read(self) -> dict[str, Batch]:
        """What each job gave."""
        done: dict[str, Batch] = {}
        for entry in self._lines.read():
            with suppress(ValueError, KeyError, TypeError):  # a damaged line costs one job, no more
                done[entry["key"]] = _batch(entry)
        return done

    def add(self, key: str, batch: Batch) -> None:
        """Append one finished job."""
        failures = [[failure.name, failure.reason] for failure in batch.failures]
        self._lines.add([{"key": key, "structures": [record(atoms) for atoms in batch.structures], "failures": failures}])

    def remove(self) -> None:
        """Forget the finished jobs, once their results are safe elsewhere."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


@final
class Labelling:
    """Runs jobs with one engine.

    Args:
        engine: the reference.
        n_processes: jobs at once; null takes every core.
        journal: where finished jobs are kept.
        report: called with the number of structures done and of all, for a progress bar.
    """

    def __init__(self, *, engine: Engine, n_processes: int | None, journal: FinishedJobs, report: Callable[[int, int], None]) -> None:
        self.engine, self.journal, self.report = engine, journal, report
        self.n_processes = n_processes if n_processes is not None else count_cores()

    def run(self, jobs: Sequence[Job]) -> Batch:
        """All results in the order of the jobs.

        Raises:
            DataError: not one structure could be labelled.
            ReferenceEngineError: the engine is missing, or a worker process died.
        """
        self.engine.calculator()  # a missing package is found here, once, and not in every worker
        keys = [job.key() for job in jobs]
        # what failed is tried again: the disk may have been full
        done = {key: batch for key, batch in self.journal.read().items() if not batch.failures}
        missing = [(key, job) for key, job in dict(zip(keys, jobs, strict=True)).items() if key not in done]
        total = sum(job.size for job in jobs)
        finished = total - sum(job.size for _, job in missing)
        self.report(finished, total)
        for key, job, batch in self._compute(missing):
            self.journal.add(key, batch)
            done[key] = batch
            finished += job.size
            self.report(finished, total)
        return _joined([done[key] for key in keys], total)

    def _compute(self, missing: list[tuple[str, Job]]) -> Iterator[tuple[str, Job, Batch]]:
        if not missing:
            return
        n_processes = min(self.n_processes, len(missing))
        context = multiprocessing.get_context("spawn")
        with environment(ONE_THREAD), ProcessPoolExecutor(n_processes, mp_context=context, initializer=end_with_parent) as pool:
            pending: dict[Future[Batch], tuple[str, Job]] = {pool.submit(_run, job, self.engine): (key, job) for key, job in missing}
            try:
                while pending:
                    ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in ready:
                        key, job = pending.pop(future)
                        yield key, job, future.result()
            except BrokenProcessPool as error:
                raise ReferenceEngineError(
                    self.engine.level_of_theory,
                    expected="every worker process to finish its structures",
                    found="one that died (out of memory, or a crash inside the engine)",
                    do="Run the same command again: what is finished is kept. Fewer processes need less memory (reference.n_processes).",
                ) from error
            except BaseException:
                end_pool(pool)  # a calculation of hours must not outlive the command
                raise


def _joined(batches: list[Batch], total: int) -> Batch:
    structures = [atoms for batch in batches for atoms in batch.structures]
    failures = [failure for batch in batches for failure in batch.failures]
    if failures and not structures:
        raise DataError(
            failures[0].name,
            expected=f"a label for at least one of {total} structures",
            found=f"that none has one: {failures[0].reason}",
            do="Choose a reference that knows these elements, or correct the geometries.",
        )
    return Batch(structures, failures)


def _batch(entry: dict[str, Any]) -> Batch:
    failures = [Failure(name, reason) for name, reason in entry["failures"]]
    return Batch([restore(plain) for plain in entry["structures"]], failures)


def _run(job: Job, engine: Engine) -> Batch:
    return job.run(engine)
