"""No memory: runs that forget."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

from nnpx.tracking import Run, Status, Tracker
from nnpx.wiring import Wired


@final
class Silent(Tracker):
    """Remembers nothing.

    Args:
        workspace: the project folder.
    """

    def __init__(self, *, workspace: Wired[Path]) -> None:
        self.workspace = workspace

    def prepare(self) -> None:
        """Nothing to create."""

    def start(self, name: str, *, parent: str | None, tags: Mapping[str, str]) -> Run:
        """A run that forgets; its id is empty."""
        return _Forgotten()

    def resume(self, run_id: str) -> Run:
        """A run that forgets."""
        return _Forgotten()

    def dashboard(self) -> list[str]:
        """Nothing to show."""
        return []


@final
class _Forgotten(Run):
    def __init__(self) -> None:
        self.id = ""

    def log_params(self, values: Mapping[str, object]) -> None:
        pass

    def log_metrics(self, values: Mapping[str, float | int | None], step: int) -> None:
        pass

    def log_file(self, path: Path, folder: str = "") -> None:
        pass

    def log_text(self, text: str, name: str) -> None:
        pass

    def log_model(self, path: Path, *, name: str, alias: str) -> None:
        pass

    def set_tag(self, key: str, value: str) -> None:
        pass

    def flush(self) -> None:
        pass

    def finish(self, status: Status = "FINISHED") -> None:
        pass
