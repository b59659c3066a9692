"""The file that keeps a run's records while the store does not answer: `.nnpx/tracking/<run>.jsonl`, one JSON object per line.

Writers append under a lock that they hold for one line. Whoever delivers reads without it, and removes the file under it, if nothing was
added meanwhile: no record is ever between two chairs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from nnpx.files import JsonLines
from nnpx.tracking.records import Record

#: where the journals of a project lie
FOLDER: Final = Path(".nnpx/tracking")
#: s; a line is written in far less
LOCK_S: Final = 10.0


@final
class Journal:
    """The records of one run that have not reached the store.

    Args:
        folder: the folder of the journals.
        run_id: the run.

    Raises:
        OSError: from every method, where the disk is full or read-only.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder, self.run_id = folder, run_id
        self.path = folder / f"{run_id}.jsonl"
        self._lines = JsonLines(self.path)

    def append(self, records: Sequence[Record]) -> None:
        """Add records."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock, timeout=LOCK_S):
            self._lines.add(records)

    def read(self) -> tuple[list[Record], int]:
        """The records in order, and how many bytes they were read from."""
        lines, size = self._lines.read_bytes()
        return [record for record in lines if "do" in record], size

    def remove(self, size: int) -> bool:
        """Remove the journal if it still has `size` bytes; whether it is gone."""
        from filelock import FileLock

        with FileLock(self._lock, timeout=LOCK_S):
            if self.path.is_file() and self.path.stat().st_size != size:
                return False
            self.path.unlink(missing_ok=True)
        return True

    @property
    def _lock(self) -> Path:
        return self.folder / "journal.lock"


def journals(folder: Path) -> list[str]:
    """The runs that have records waiting, the oldest first."""
    return [path.stem for path in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)]
