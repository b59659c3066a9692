"""Labelling that can be killed at any time and goes on where it stopped.

Every finished job is one line of an append-only journal. A half-written last line is what a kill leaves behind: its job is done again.
Results come back in the order of the jobs, wherever they ran, so that the same jobs give the same bytes.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from math import inf
from typing import final

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.jobs import Batch, Engine, Job
from nnpx.errors import DataError
from nnpx.executor import Executor, Task


@final
class Labelling:
    """Runs jobs with one engine.

    Args:
        engine: the reference.
        executor: where they run.
        journal: where finished jobs are kept.
        report: called with the number of structures done and of all, for a progress bar.
        again: whether what failed before is tried again: the disk may have been full.
        allowed: the time (s) that a job may take.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        executor: Executor,
        journal: FinishedJobs,
        report: Callable[[int, int], None],
        again: bool = True,
        allowed: Callable[[Job], float] = lambda job: inf,
    ) -> None:
        self.engine, self.executor, self.journal, self.report = engine, executor, journal, report
        self.again, self.allowed = again, allowed

    def batches(self, jobs: Sequence[Job]) -> list[Batch]:
        """One batch per job, in their order.

        Raises:
            ReferenceEngineError: the engine is missing.
            ConfigError: the executor cannot run anything.
        """
        self.engine.calculator()  # a missing package is found here, once, and not in every worker
        named = {job.key(): job for job in jobs}
        done = {key: batch for key, batch in self.journal.read().items() if not (self.again and batch.failures)}
        tasks = [Task(key, job, self.allowed(job)) for key, job in named.items() if key not in done]
        total = sum(job.size for job in named.values())
        finished = total - sum(task.job.size for task in tasks)
        self.report(finished, total)
        with closing(self.executor.results(self.engine, tasks, self.journal.path.parent / "jobs")) as results:
            for key, batch in results:
                self.journal.add(key, batch)
                done[key] = batch
                finished += named[key].size
                self.report(finished, total)
        return [done[job.key()] for job in jobs]

    def run(self, jobs: Sequence[Job]) -> Batch:
        """All results in the order of the jobs.

        Raises:
            DataError: not one structure could be labelled.
            ReferenceEngineError: the engine is missing.
            ConfigError: the executor cannot run anything.
        """
        batches = self.batches(jobs)
        structures = [atoms for batch in batches for atoms in batch.structures]
        failures = [failure for batch in batches for failure in batch.failures]
        if failures and not structures:
            raise DataError(
                failures[0].name,
                expected=f"a label for at least one of {sum(job.size for job in jobs)} structures",
                found=f"that none has one: {failures[0].reason}",
                do="Choose a reference that knows these elements, or correct the geometries.",
            )
        return Batch(structures, failures)
