"""Which runs are alive: one whose process was killed cannot say so, and whoever comes next does it in its place."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, final

#: where each run that is being written has a file, below the folder of the journals
_FOLDER: Final = "running"
#: begins the name of a file whose lock is still to be had
_DRAFT: Final = "begin-"


@final
class Pulse:
    """A file that is locked for as long as the process of a run lives, and whose age says when the run was last heard of.

    Where files cannot be locked or written there is none, and a run that is killed stays as it is.

    Args:
        folder: of the journals.
        run_id: the run.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        from filelock import FileLock, Timeout

        self._path, draft = folder / _FOLDER / run_id, folder / _FOLDER / f"{_DRAFT}{os.getpid()}-{run_id}"
        self._lock = FileLock(draft, timeout=0)
        with suppress(OSError, NotImplementedError, Timeout):
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(run_id, encoding="utf-8")
            self._lock.acquire()
            draft.rename(self._path)  # locked before anybody can take it for that of a dead process

    def beat(self) -> None:
        """The run was heard of now."""
        with suppress(OSError):
            os.utime(self._path)

    def end(self) -> None:
        """The run says itself how it ended."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._lock.release()


def dead(folder: Path) -> Iterator[tuple[str, float]]:
    """The runs whose processes are gone, each with the time (s since 1970) when it was last heard of; it is forgotten after that."""
    from filelock import FileLock, Timeout

    for path in sorted((folder / _FOLDER).glob("*")):
        with suppress(OSError, NotImplementedError, Timeout), FileLock(path, timeout=0):
            last = path.stat().st_mtime
            if run_id := path.read_text(encoding="utf-8"):  # else it ended meanwhile, and the lock has made an empty file
                yield run_id, last
            path.unlink()
