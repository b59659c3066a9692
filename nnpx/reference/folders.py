"""A folder for every calculation: a program that finds the files of another structure takes them for its own."""

import os
import shutil
import weakref
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, Final

#: begins the names of temporary folders, before the number of the process
_PREFIX: Final = "nnpx-engine-"


def new_folder(kept_in: str | None) -> Path:
    """A new folder among those that are kept, or a temporary one where none are."""
    if kept_in is None:
        return Path(mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    parent = Path(kept_in).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(prefix="", dir=parent))


def remove_with(owner: Any, folder: Path) -> None:
    """The folder goes when its owner does, or the process ends."""
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)


def remove_those_of(process: int) -> None:
    """The temporary folders of a process that was killed."""
    for folder in Path(gettempdir()).glob(f"{_PREFIX}{process}-*"):
        shutil.rmtree(folder, ignore_errors=True)
