"""Calls to the reference engine that nothing can bring down: one that hangs, dies or does not converge costs its structure, no more.

Each worker is a process that takes one job at a time. What is finished is written to the same journal of labels that `nnpx label` keeps,
so that after a kill nothing finished is computed again.
"""

import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final, final

from nnpx.data.jobs import Batch, Engine, Failure, Job
from nnpx.data.labelling import FinishedJobs
from nnpx.learning.label_check import CheckedPoint
from nnpx.processes import ONE_THREAD, count_cores, end_with_parent, environment

#: s; a worker has so long to load its libraries: the clock of its first job starts when it is ready
_START_S: Final = 60.0


@final
class Calls:
    """Runs jobs with one engine, whatever it does.

    Args:
        engine: the reference.
        n_processes: jobs at once; None takes every core that this process may use.
        timeout_s: s, of one calculation; a job that takes longer than all of its calculations may is given up.
        journal: where finished jobs are kept.
        report: called with the number of jobs done and of all.
    """

    def __init__(
        self, *, engine: Engine, n_processes: int | None, timeout_s: float, journal: FinishedJobs, report: Callable[[int, int], None]
    ) -> None:
        self.engine, self.timeout_s, self.journal, self.report = engine, timeout_s, journal, report
        self.n_processes = n_processes if n_processes is not None else count_cores()

    def run(self, jobs: Sequence[Job]) -> list[Batch]:
        """One batch per job, in their order; a job that failed in whatever way holds a `Failure`.

        Raises:
            ReferenceEngineError: the engine is not installed.
        """
        self.engine.calculator()  # a missing package is found here, once, and not in every worker
        keys = [job.key() for job in jobs]
        done = self.journal.read()
        waiting = [(key, job) for key, job in dict(zip(keys, jobs, strict=True)).items() if key not in done]
        total, finished = len(set(keys)), len(set(keys)) - len(waiting)
        self.report(finished, total)
        crew = _Crew(self.engine, self.timeout_s, min(self.n_processes, len(waiting)))
        try:
            for key, batch in crew.results(waiting):
                self.journal.add(key, batch)
                done[key] = batch
                finished += 1
                self.report(finished, total)
        finally:
            crew.end()
        return [done[key] for key in keys]


@dataclass
class _Worker:
    """A process, the line to it, and what it works on."""

    process: BaseProcess
    line: Connection
    key: str
    job: Job
    deadline: float


@final
class _Crew:
    """As many processes as there are jobs at once; one that hangs or dies is replaced."""

    def __init__(self, engine: Engine, timeout_s: float, size: int) -> None:
        self._engine, self._timeout_s, self._size = engine, timeout_s, size
        self._busy: list[_Worker] = []
        self._idle: list[tuple[BaseProcess, Connection]] = []

    def results(self, waiting: Sequence[tuple[str, Job]]) -> Iterator[tuple[str, Batch]]:
        """Key and batch of every job, as they come."""
        queue = list(reversed(waiting))
        while queue or self._busy:
            while queue and len(self._busy) < self._size:
                key, job = queue.pop()
                process, line, patience = (*self._idle.pop(), 0.0) if self._idle else (*self._hire(), _START_S)
                with suppress(OSError):  # one that died meanwhile is found out below
                    line.send(job)
                self._busy.append(_Worker(process, line, key, job, time.monotonic() + patience + self._allowed(job)))
            patience = max(0.0, min(worker.deadline for worker in self._busy) - time.monotonic())
            ready = multiprocessing.connection.wait([worker.line for worker in self._busy], timeout=patience)
            for worker in list(self._busy):
                late = time.monotonic() > worker.deadline
                if (worker.line in ready or late) and (batch := self._outcome(worker)) is not None:
                    self._busy.remove(worker)
                    yield worker.key, batch

    def _allowed(self, job: Job) -> float:
        """The time (s) of all calculations of a job: a label that is examined takes three."""
        return self._timeout_s * (job.calls if isinstance(job, CheckedPoint) else 1)

    def end(self) -> None:
        """No process outlives the labelling."""
        for process, line in [*self._idle, *((worker.process, worker.line) for worker in self._busy)]:
            process.kill()
            process.join()
            line.close()

    def _outcome(self, worker: _Worker) -> Batch | None:
        """What a worker answered, a failure where it did not; nothing where it only said that it is ready."""
        try:
            if worker.line.poll():
                batch: Batch | None = worker.line.recv()
                if batch is None:
                    worker.deadline = time.monotonic() + self._allowed(worker.job)
                else:
                    self._idle.append((worker.process, worker.line))
                return batch
            reason = f"no answer of the reference engine within {self._allowed(worker.job):g} s"
        except (EOFError, OSError):
            worker.process.join()
            reason = f"the process of the reference engine died (exit code {worker.process.exitcode})"
        worker.process.kill()
        worker.process.join()
        worker.line.close()
        return Batch([], [Failure(worker.job.name, reason)])

    def _hire(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        with environment(ONE_THREAD):
            process = context.Process(target=_work, args=(self._engine, theirs), daemon=True)
            process.start()
        theirs.close()
        return process, ours


def _work(engine: Engine, line: Connection) -> None:
    """Ready, then jobs in and batches out, until the other end is closed."""
    end_with_parent()
    line.send(None)
    while True:
        try:
            job: Job = line.recv()
        except EOFError:
            return
        line.send(_done(job, engine))


def _done(job: Job, engine: Engine) -> Batch:
    """The batch of a job; what the engine raises, whatever it is, is the failure of this job."""
    try:
        return job.run(engine)
    except Exception as error:  # noqa: BLE001  # engines raise what they like
        return Batch([], [Failure(job.name, f"{type(error).__name__}: {' '.join(str(error).split())}")])
