"""A folder for every calculation: a program that finds the files of another structure takes them for its own."""

import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Final

#: begins the names of temporary folders
PREFIX: Final = "nnpx-engine-"


def new_folder(kept_in: str | None) -> Path:
    """A new folder among those that are kept, or a temporary one where none are."""
    if kept_in is None:
        return Path(mkdtemp(prefix=PREFIX))
    parent = Path(kept_in).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(prefix="", dir=parent))


def remove_with(owner: Any, folder: Path) -> None:
    """The folder goes when its owner does, or the process ends."""
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)


@contextmanager
def for_temporary_files() -> Iterator[dict[str, str]]:
    """A folder for all that processes keep for a while, which goes with the block, however they end; the variables that tell them."""
    with TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder}
