"""`python -m nnpx.executor.work FILE`: does the task of a file that `nnpx.executor.command` wrote, and writes the answer beside it."""

import os
import pickle
import sys
from pathlib import Path

from nnpx.executor.command import Files
from nnpx.processes import ends_after
from nnpx.trusted import ENVIRONMENT


def main(path: Path) -> None:
    """One task; nothing where it is answered already, by the work of a command that was killed and called again."""
    files = Files.of_task(path)
    if files.answer() is not None:
        return
    files.begun.touch()
    with path.open("rb") as stream:
        sys.path[:], os.environ[ENVIRONMENT] = pickle.load(stream)  # written by the command that called this
        task, engine = pickle.load(stream)
    with ends_after(task.allowed_s):
        batch = task.done(engine)
    files.write_answer(batch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
