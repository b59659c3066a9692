"""The memory of the project: every run with its parameters, curves, files and models.

A `Tracker` opens runs; a `Run` takes what is worth remembering. Runs are addressed by explicit ids, so worker processes, nested members
and later pipelines write to the run they mean: there is no "active run". A store that does not answer never stops the science: the run
warns once, keeps its records in `.nnpx/tracking/<run>.jsonl` and delivers them as soon as the store answers again.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from nnpx.choices import PARENT_VARIABLE

if TYPE_CHECKING:
    from nnpx.tracking.mlflow import MLflow
    from nnpx.tracking.none import Silent

__all__ = ["PARENT_VARIABLE", "MLflow", "Run", "Silent", "Status", "Tracker"]

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Run(ABC):
    """One experiment being remembered. As a context manager it ends FINISHED, FAILED (any error) or KILLED (interrupted)."""

    id: str

    @abstractmethod
    def log_params(self, values: Mapping[str, object]) -> None:
        """Remember settings, nested ones under dotted names. Once written they cannot change."""

    @abstractmethod
    def log_metrics(self, values: Mapping[str, float | int | None], step: int) -> None:
        """Remember numbers of one epoch or step; sent in batches. None is left out."""

    @abstractmethod
    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file, in a folder of the run."""

    @abstractmethod
    def log_text(self, text: str, name: str) -> None:
        """Keep a text, such as the resolved configuration, as a file called `name`."""

    @abstractmethod
    def log_model(self, path: Path, *, name: str, alias: str) -> None:
        """Keep a potential's file and register it as the next version of the model `name`, reachable as `name@alias`."""

    @abstractmethod
    def set_tag(self, key: str, value: str) -> None:
        """Attach a word by which runs can be searched."""

    @abstractmethod
    def flush(self) -> None:
        """Send what waits."""

    @abstractmethod
    def finish(self, status: Status = "FINISHED") -> None:
        """Send what waits and close the run."""

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("FAILED" if issubclass(kind, Exception) else "KILLED")


class Tracker(ABC):
    """Opens runs. Small and picklable: a worker process gets the tracker and the id of its run."""

    @abstractmethod
    def prepare(self) -> None:
        """Create the store. To be called once before any worker starts: two processes creating a database destroy it."""

    @abstractmethod
    def start(self, name: str, *, parent: str | None, tags: Mapping[str, str]) -> Run:
        """A new run called `name`, nested below the run with the id `parent`, else below that of the sweep it belongs to."""

    @abstractmethod
    def resume(self, run_id: str) -> Run:
        """The run with this id, to add to it from another process or at a later time."""

    @abstractmethod
    def dashboard(self) -> list[str]:
        """What opens the runs in a browser, line by line: a command, an address; nothing where no runs are kept."""


def __getattr__(name: str) -> Any:
    """The two options, imported when first used: their modules build on this one."""
    if name == "MLflow":
        from nnpx.tracking.mlflow import MLflow

        return MLflow
    if name == "Silent":
        from nnpx.tracking.none import Silent

        return Silent
    raise AttributeError(name)
