"""What was computed, in a file that a kill cannot spoil."""

from contextlib import suppress
from pathlib import Path
from typing import Any, final

from nnpx.data.frames import record, restore
from nnpx.data.jobs import Batch, Failure
from nnpx.files import JsonLines


@final
class FinishedJobs:
    """Finished jobs, one JSON line each, by the key of the job.

    Args:
        path: the file; its folder is made when the first line is written.
    """

    def __init__(self, *, path: Path) -> None:
        self.path = path
        self._lines = JsonLines(path)

    def read(self) -> dict[str, Batch]:
        """What each job gave."""
        done: dict[str, Batch] = {}
        for entry in self._lines.read():
            with suppress(ValueError, KeyError, TypeError):  # a damaged line costs one job, no more
                done[entry["key"]] = _batch(entry)
        return done

    def add(self, key: str, batch: Batch) -> None:
        """Append one finished job."""
        failures = [[failure.name, failure.reason] for failure in batch.failures]
        self._lines.add([{"key": key, "structures": [record(atoms) for atoms in batch.structures], "failures": failures}])

    def remove(self) -> None:
        """Forget the finished jobs, once their results are safe elsewhere."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


def _batch(entry: dict[str, Any]) -> Batch:
    failures = [Failure(name, reason) for name, reason in entry["failures"]]
    return Batch([restore(plain) for plain in entry["structures"]], failures)
