"""Files that other processes read while this one writes: whole or not there, told apart by their checksums."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any, BinaryIO, Final, final

#: what a system says of a disk that takes nothing more: it is full, a quota or the largest file is reached, it may only be read
TAKES_NOTHING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the block name the file: a system that cannot write does not say where, and torch does not say why."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):
            raise
        cause = error.__context__
        cause.filename = cause.filename or str(path)
        raise cause from None


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes its place when the block ends: nobody ever finds half of it. For one writer at a time.

    Raises:
        OSError: the disk is full or not writable; the file is what it was before, as after any other error in the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.writing")
    try:
        with naming(path), draft.open("wb") as stream:
            yield stream
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def to_disk(stream: BinaryIO) -> None:
    """Waits until what was written would survive a power cut."""
    stream.flush()
    os.fsync(stream.fileno())


def write_text(path: Path, content: str) -> None:
    """Write a file beside its place and rename it there: a reader never sees half of it, and several may write.

    Raises:
        OSError: the disk is full or not writable; the file is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path):
            draft.write_text(content, encoding="utf-8")
            draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file in one move, keys as they come."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none, or half of one."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content


@final
class JsonLines:
    """A file of JSON objects, one per line, that is only added to. A line that a kill or a full disk cut short is as if never written.

    Args:
        path: the file; its folder is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[dict[str, Any]]:
        """What was written, in order."""
        if self.path.is_file():
            with self.path.open("rb") as stream:
                yield from _entries(stream)

    def read_bytes(self) -> tuple[list[dict[str, Any]], int]:
        """The same, and how many bytes it was read from, for whom others may add to the file meanwhile."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        return list(_entries(content.splitlines())), len(content)

    def add(self, entries: Iterable[Mapping[str, object]]) -> None:
        """Add lines, which would survive a power cut from then on. For one writer at a time.

        Raises:
            OSError: the disk is full or not writable; nothing was added.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
        before = self.path.stat().st_size if self.path.is_file() else 0
        try:
            with naming(self.path), self.path.open("ab+") as stream:
                if before:
                    stream.seek(-1, os.SEEK_END)
                    lines = lines if stream.read(1) == b"\n" else b"\n" + lines  # behind one that was cut short
                stream.write(lines)
                to_disk(stream)
        except OSError:
            if self.path.is_file():
                os.truncate(self.path, before)
            raise


def _entries(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


def md5(path: Path) -> str:
    """Checksum of a file, as DVC computes it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


#: what each verb writes to a project
WRITES: Final[dict[str, tuple[str, ...]]] = {
    "label": ("data/labelled.extxyz", "data/labels.json", ".nnpx"),
    "prepare": ("data/prepared", ".nnpx"),
    "train": ("models", ".nnpx"),
    "evaluate": ("reports",),
    "simulate": ("reports", ".nnpx"),
    "learn": ("learn", "data/prepared", "models", ".nnpx"),
    "report": ("reports",),
}
#: folders of jobs
_JOBS: Final = ("multirun", "outputs")


def is_pattern(name: str) -> bool:
    """Whether a name may stand for several files."""
    return bool(set("*?[") & set(name))


def files_of(name: str, folder: Path) -> list[Path]:
    """The name; of a pattern such as runs/*/OUTCAR those of all files that it stands for, or itself where there are none.

    Args:
        name: absolute, or seen from the folder; so are those returned, in the order of their letters.
        folder: where relative names start; its own name is no pattern, and what nnpx has written to it is none of the files.
    """
    if not is_pattern(name) or (folder / name).exists():
        return [Path(name)]
    found = sorted(glob(name, root_dir=folder, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    own = {folder.absolute() / place for places in (*WRITES.values(), _JOBS) for place in places}
    others = (Path(one) for one in found if not any((folder.absolute() / one).is_relative_to(place) for place in own))
    return [one for one in others if (folder / one).is_file()] or [Path(name)]
