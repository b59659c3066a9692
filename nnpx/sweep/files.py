"""The files by which the processes of a sweep know of each other, each written in one move, and the lock that a folder has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nnpx.errors import ConfigError

#: in the folder of a job: its configuration, what it is to do, how it ended, what it said, how often it was started
CONFIG: Final = "config.yaml"
TICKET: Final = "job.json"
RESULT: Final = "result.json"
LOG: Final = "job.log"
STARTS: Final = "starts"
#: held by the process that works in a folder; released by the system when that process ends, however it ends
LOCK: Final = ".lock"


@contextmanager
def writable(what: str) -> Iterator[None]:
    """Errors of the disk in words.

    Raises:
        ConfigError: where the folder is read-only or the disk is full.
    """
    try:
        yield
    except OSError as problem:
        do = "Make room or choose another folder, then start the sweep again: what has been computed is kept."
        raise ConfigError(what, expected="a folder that can be written", found=str(problem.strerror or problem).lower(), do=do) from problem
