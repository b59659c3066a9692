"""A folder for every calculation: a program that finds the files of another structure takes them for its own."""

import fcntl
import os
import platform
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, Final, final

#: begins the names of temporary folders of this machine or container, outside of which a lock may not be seen
PREFIX: Final = f"nnpx-engine-{platform.node()}-"


@final
@dataclass(frozen=True)
class Folder:
    """An empty folder for one owner.

    Attributes:
        path: where it is.
        lock: of a temporary one, its file descriptor: while the process lives, the folder is locked (flock).
    """

    path: Path
    lock: int | None = None

    def remove(self) -> None:
        """The folder is needed no more."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)

    def goes_with(self, owner: Any) -> None:
        """It is removed when its owner is, or the process ends."""
        weakref.finalize(owner, self.remove)


def new_folder(kept_in: str | None) -> Folder:
    """A new folder among those that are kept, or a temporary one where none are; what killed processes have left of these is removed."""
    if kept_in is None:
        _remove_left()
        return _locked()
    parent = Path(kept_in).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    return Folder(Path(mkdtemp(prefix="", dir=parent)))


@contextmanager
def for_temporary_files() -> Iterator[dict[str, str]]:
    """A folder for all that processes keep for a while, which goes with the block, however they end; the variables that tell them."""
    folder = new_folder(None)
    try:
        yield {"TMPDIR": str(folder.path)}
    finally:
        folder.remove()


def _locked() -> Folder:
    while True:
        path = Path(mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks, where nobody can take it for left either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.is_dir():  # else another process took it for left before it was locked
                return Folder(path, lock)
            os.close(lock)


def _remove_left() -> None:
    """Removes the temporary folders of this user whose process has ended: nobody holds their lock."""
    for path in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # one that is gone meanwhile, is locked, or no folder of ours
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
