"""The reference engine's own trajectories, computed in a process of its own while the potential moves."""

import shutil
import signal
import sys
from collections.abc import Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, final

from ase import Atoms

from nnpx.errors import NNPXError
from nnpx.md import Dynamics
from nnpx.md.identity import identity
from nnpx.md.record import Record
from nnpx.md.runner import simulate
from nnpx.md.trajectory import Trajectory, read_trajectory
from nnpx.processes import ONE_THREAD, environment
from nnpx.reference import Reference

#: begins the names of folders in which trajectories are being made
_DRAFT: Final = "reference-"


@final
class Beside:
    """Runs the reference engine's dynamics while its block is executed; an error in the block stops it.

    A trajectory that was computed before, for another potential, is not computed again.

    Args:
        reference: the engine of the labels.
        jobs: dynamics and start structure by name.
        seed: of momenta and noise.
        trusted: checksum of the code that is not nnpx's.
        folder: where trajectories are kept.
    """

    def __init__(self, reference: Reference, jobs: Mapping[str, tuple[Dynamics, Atoms]], *, seed: int, trusted: str, folder: Path) -> None:
        for left in folder.glob(f"{_DRAFT}*"):  # by an engine whose machine crashed, or that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._files = {name: folder / f"{identity(reference.identity, *job, seed, trusted=trusted)}.npz" for name, job in jobs.items()}
        missing = [(*jobs[name], file) for name, file in self._files.items() if not file.is_file()]
        self._process: BaseProcess | None = None
        if missing:
            self._process = get_context("spawn").Process(target=_serve, args=(reference, missing, seed), daemon=True)

    def __enter__(self) -> "Beside":
        if self._process is not None:
            with environment(ONE_THREAD):  # the potential needs the other cores
                self._process.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            if kind is not None:
                self._process.terminate()
            self._process.join()

    def answer(self, name: str) -> Trajectory | str:
        """The trajectory once it is there, or why there is none."""
        if self._process is not None:
            self._process.join()
        file = self._files[name]
        if file.is_file():
            return read_trajectory(file)
        note = file.with_suffix(".txt")
        return note.read_text(encoding="utf-8") if note.is_file() else "the reference engine's process ended without an answer"


def _serve(reference: Reference, jobs: list[tuple[Dynamics, Atoms, Path]], seed: int) -> None:
    """`_compute`, in a process that leaves everything in order when it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    _compute(reference, jobs, seed)


def _compute(reference: Reference, jobs: list[tuple[Dynamics, Atoms, Path]], seed: int) -> None:
    """In the other process: every trajectory into its file, or the reason into a note."""
    failures: tuple[type[Exception], ...] = (NNPXError, ImportError, *reference.failures)
    for dynamics, start, kept in jobs:
        note = kept.with_suffix(".txt")
        kept.parent.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        try:
            calculator = reference.calculator()
            # not taken up: what a quantum engine answers depends on the wave function that it begins with
            with TemporaryDirectory(prefix=_DRAFT, dir=kept.parent, ignore_cleanup_errors=True) as folder:
                record = Record(Path(folder), len(start), None)
                simulate(dynamics, start, calculator, seed=seed, name="reference", record=record, progress=_go_on).write(kept)
        except failures as problem:
            note.write_text(" ".join(str(problem).split()), encoding="utf-8")


def _go_on(done: int, of: int) -> None:
    """Ends with the process that wants the answer: one that was killed cannot stop this one, and the next would run beside it."""
    asking = parent_process()
    if asking is not None and not asking.is_alive():
        raise SystemExit
