"""Files that other processes read while this one writes: whole or not there, told apart by their checksums."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes its place when the block ends: nobody ever finds half of it. For one writer at a time.

    Raises:
        OSError: the disk is full or not writable; the file is what it was before, as after any other error in the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.writing")
    try:
        with draft.open("wb") as stream:
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


def md5(path: Path) -> str:
    """Checksum of a file, as DVC computes it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
