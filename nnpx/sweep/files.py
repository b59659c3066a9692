"""The files by which the processes of a sweep know of each other, each written in one move, and the lock that a folder has."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nnpx.errors import ConfigError
from nnpx.files import write_text

#: in the folder of a job: its configuration, what it is to do, how it ended, what it said, how often it was started
CONFIG: Final = "config.yaml"
TICKET: Final = "job.json"
RESULT: Final = "result.json"
LOG: Final = "job.log"
STARTS: Final = "starts"
#: held by the process that works in a folder; released by the system when that process ends, however it ends
LOCK: Final = ".lock"


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file in one move, keys as they come: the order of the choices is that of the table."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


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
