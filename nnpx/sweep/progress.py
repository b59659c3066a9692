"""A line for every job of a sweep as it ends, and the time left; the same for all launchers, because it only looks at the folders."""

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, final

from nnpx.comparison.rows import Row, brief, row_of_folder
from nnpx.files import read_json, write_json
from nnpx.sweep.files import LOG, RESULT
from nnpx.sweep.grid import Grid, Job

#: seconds between two looks
POLL_S: Final = 0.2


@final
class Progress:
    """Watches the jobs while it is open, in a thread beside the launcher.

    Args:
        grid: the sweep.
        jobs: those of its jobs that are to run.
    """

    def __init__(self, grid: Grid, jobs: Sequence[Job]) -> None:
        self._grid, self._waiting, self._n_run = grid, {job.number: job for job in jobs}, len(jobs)
        self._out, self._error = sys.stdout, sys.stderr  # a job in this process writes to its log meanwhile
        self._started, self._over, self._lock = time.monotonic(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        if before := len(self._grid.jobs) - self._n_run:
            self._out.write(f"sweep: {before} jobs have finished before\n")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def failed(self, job: Job, reason: str) -> None:
        """Says that a job failed which could not say so itself."""
        with self._lock:
            job.failure = reason
            with suppress(OSError):  # on a full disk the terminal has to do
                write_json(job.folder / RESULT, {"status": "failed", "error": reason})
            if self._waiting.pop(job.number, None) is not None:
                self._tell(job, reason)

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for job in list(self._waiting.values()):
                if result := read_json(job.folder / RESULT):
                    del self._waiting[job.number]
                    self._tell(job, str(result.get("error", "")))

    def _tell(self, job: Job, error: str) -> None:
        if error:
            see = self._grid.shown(job.folder / LOG)
            self._error.write(f"error: job {job.number} ({' '.join(job.overrides)}): {error} (see {see})\n")
            self._error.flush()
            return
        total, done = len(self._grid.jobs), len(self._grid.jobs) - len(self._waiting)
        ran, left = self._n_run - len(self._waiting), len(self._waiting)
        seconds = (time.monotonic() - self._started) / ran * left
        row: Row = row_of_folder(job.folder, job.choices, job.name)
        self._out.write(
            f"[{done}/{total}] {': '.join(filter(None, (job.name, brief(row))))}" + (f" ({_time(seconds)} left)\n" if left else "\n")
        )
        self._out.flush()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
