"""Executors: where the calculations with the reference engine run.

The contract. An option is an `Executor`: it is given tasks, and gives back what came of each as they finish, in whatever order. A task that
hangs, dies, or raises what nobody foresaw costs its structures and no more: it has failed, with a reason. Only where nothing can run at
all does an executor raise. Where a calculation runs changes no label, but for the rounding of an engine that is given other threads.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import final

from nnpx.data.jobs import Batch, Engine, Failure, Job


@final
@dataclass(frozen=True)
class Task:
    """A job to be done."""

    key: str  #: the same for the same job
    job: Job
    allowed_s: float = inf  #: s; the time of all its calculations, after which it is given up

    def failed(self, reason: str) -> Batch:
        """What comes of it where it gave no answer."""
        return Batch([], [Failure(self.job.name, reason)])

    def late(self) -> Batch:
        """What comes of it where it took too long."""
        return self.failed(f"no answer of the reference engine within {self.allowed_s:g} s")

    def done(self, engine: Engine) -> Batch:
        """What comes of it here and now; what the engine raises, whatever it is, is the failure of this task."""
        try:
            return self.job.run(engine)
        except Exception as error:  # noqa: BLE001  # engines raise what they like
            return self.failed(f"{type(error).__name__}: {' '.join(str(error).split())}")


class Executor(ABC):
    """A place where tasks run."""

    @abstractmethod
    def results(self, engine: Engine, tasks: Sequence[Task], folder: Path) -> Generator[tuple[str, Batch], None, None]:
        """Key and batch of every task, as they come. What still runs when the iterator is closed is ended, as far as that can be done.

        Args:
            engine: the reference.
            tasks: with keys that differ.
            folder: for files that the executor needs meanwhile; it is made when one is written, and removed in the end.

        Raises:
            ConfigError: the executor cannot run anything.
        """
