"""Which runs are alive: one whose process was killed cannot say so, and whoever comes next does it in its place."""

import fcntl
import os
import platform
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO, final

#: where every process that writes a run has a file, below the folder of the journals
_FOLDER: Final = "running"


@final
class Pulse:
    """A file that is locked for as long as a process writes a run, and whose age says when the run was last heard of.

    Where files cannot be locked or written there is none, and a run that is killed stays as it is.

    Args:
        folder: of the journals.
        run_id: the run.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        draft = folder / _FOLDER / f".{uuid.uuid4().hex}"
        self._file: TextIO | None = None
        self._path = draft.with_name(f"{run_id}@{platform.node()}@{draft.name[1:]}")
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            self._file = draft.open("x")  # closed by the end of the run
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.rename(self._path)  # which is locked before anybody sees it
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def beat(self) -> None:
        """The run was heard of now."""
        with suppress(OSError):
            os.utime(self._path)

    def end(self) -> None:
        """The run says itself how it ended."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()


def dead(folder: Path) -> dict[str, float]:
    """The runs that nobody writes any more and that did not end, each with the time (s since 1970) when it was last heard of."""
    found: dict[str, float] = {}
    for path in _files(folder, "*"):
        run_id = path.name.partition("@")[0]
        if not is_alive(folder, run_id):
            with suppress(OSError):  # it has just ended
                found[run_id] = max(found.get(run_id, 0.0), path.stat().st_mtime)
    return found


def is_alive(folder: Path, run_id: str) -> bool:
    """Whether a process writes the run, as far as this machine can tell: on another one it counts as alive."""
    return any(_is_held(path) for path in _files(folder, run_id))


def forget(folder: Path, run_id: str) -> None:
    """Removes what dead processes have left of the run."""
    for path in _files(folder, run_id):
        if not _is_held(path):
            path.unlink(missing_ok=True)


def _files(folder: Path, run_id: str) -> list[Path]:
    return sorted((folder / _FOLDER).glob(f"{run_id}@*"))


def _is_held(path: Path) -> bool:
    """Whether its process lives, or is on another machine, whose locks may be its own affair."""
    if path.name.split("@")[1] != platform.node():
        return True
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that those who ask do not take each other for the process
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
