"""Processes of this machine that nothing can bring down."""

import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated, Final, final

from annotated_types import Gt

from nnpx.data.jobs import Batch, Engine
from nnpx.executor import Executor, Task
from nnpx.processes import ONE_THREAD, begin_group, count_cores, end_group, end_with_parent, environment
from nnpx.reference.folders import for_temporary_files

#: s; a worker has so long to load its libraries: the clock of its first task starts when it is ready
_START_S: Final = 60.0


@final
class Processes(Executor):
    """As many processes as there are tasks at once, each with one thread; one that hangs or dies is replaced.

    Args:
        n_processes: tasks at once; None takes every core that this process may use.
    """

    def __init__(self, *, n_processes: Annotated[int, Gt(0)] | None) -> None:
        self.n_processes = n_processes

    def results(self, engine: Engine, tasks: Sequence[Task], folder: Path) -> Generator[tuple[str, Batch], None, None]:
        """Key and batch of every task, as they come."""
        size = min(self.n_processes if self.n_processes is not None else count_cores(), len(tasks))
        with for_temporary_files() as variables:
            crew = _Crew(engine, size, {**ONE_THREAD, **variables})
            try:
                yield from crew.results(tasks)
            finally:
                crew.end()


@dataclass
class _Worker:
    """A process, the line to it, and what it works on."""

    process: BaseProcess
    line: Connection
    task: Task
    deadline: float


class _Crew:
    """The processes."""

    def __init__(self, engine: Engine, size: int, variables: Mapping[str, str]) -> None:
        self._engine, self._size, self._variables = engine, size, variables
        self._busy: list[_Worker] = []
        self._idle: list[tuple[BaseProcess, Connection]] = []

    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[str, Batch]]:
        queue = list(reversed(tasks))
        while queue or self._busy:
            while queue and len(self._busy) < self._size:
                self._begin(queue.pop())
            ready = self._wait()
            for worker in list(self._busy):
                late = time.monotonic() > worker.deadline
                if (worker.line in ready or late) and (batch := self._outcome(worker)) is not None:
                    self._busy.remove(worker)
                    yield worker.task.key, batch

    def end(self) -> None:
        """No process outlives the tasks, whatever it is at."""
        for process, line in [*self._idle, *((worker.process, worker.line) for worker in self._busy)]:
            _end(process, line)

    def _begin(self, task: Task) -> None:
        process, line, patience = (*self._idle.pop(), 0.0) if self._idle else (*self._hire(), _START_S)
        with suppress(OSError):  # one that died meanwhile is found out when it is asked
            line.send(task)
        self._busy.append(_Worker(process, line, task, time.monotonic() + patience + task.allowed_s))

    def _wait(self) -> list[object]:
        """The lines on which something came, or an end, before the first deadline."""
        deadline = min(worker.deadline for worker in self._busy)
        patience = None if deadline == inf else max(0.0, deadline - time.monotonic())
        return list(multiprocessing.connection.wait([worker.line for worker in self._busy], timeout=patience))

    def _outcome(self, worker: _Worker) -> Batch | None:
        """What a worker answered, a failure where it did not; nothing where it only said that it is ready."""
        try:
            if worker.line.poll():
                batch: Batch | None = worker.line.recv()
                if batch is None:
                    worker.deadline = time.monotonic() + worker.task.allowed_s
                else:
                    self._idle.append((worker.process, worker.line))
                return batch
            found = worker.task.late()
        except (EOFError, OSError):
            worker.process.join()
            found = worker.task.failed(f"the process of the reference engine died (exit code {worker.process.exitcode})")
        _end(worker.process, worker.line)
        return found

    def _hire(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        with environment(self._variables):
            process = context.Process(target=_work, args=(self._engine, theirs), daemon=True)
            process.start()
        theirs.close()
        return process, ours


def _end(process: BaseProcess, line: Connection) -> None:
    """With the programs that the engine has started."""
    if process.pid is not None:
        end_group(process.pid)
    process.kill()  # where it has not begun a group yet
    process.join()
    line.close()


def _work(engine: Engine, line: Connection) -> None:
    """Ready, then tasks in and batches out, until the other end is closed."""
    begin_group()
    end_with_parent()
    line.send(None)
    while True:
        try:
            task: Task = line.recv()
        except EOFError:
            return
        line.send(task.done(engine))
