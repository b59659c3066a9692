"""A folder that one command at a time works in; a command that is killed leaves no lock behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nnpx.errors import ConfigError


@contextmanager
def alone(folder: Path, *, on: str, do: str, waits: Callable[[], None] | None = None) -> Iterator[None]:
    """Inside the block no other command works in this folder.

    Args:
        folder: it is made where there is none.
        on: what both would work on, for the message.
        do: what the second is to do instead.
        waits: called when it waits for the end of the other instead.

    Raises:
        ConfigError: if one does, and it does not wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "command.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as problem:
        if waits is None:
            raise ConfigError(str(folder), expected=f"no other command on {on}", found="one that runs", do=do) from problem
        waits()
        lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()
