"""What a run leaves behind on its way, and how it is taken up where it was killed."""

import hashlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import numpy as np
from ase import Atoms
from ase.io import write

from nnpx.md.trajectory import sample_type
from nnpx.md.walker import Walker, read_walker

#: time between two states of a run, s; a killed run loses at most as much
EVERY_S: Final = 1.0


@final
class Record:
    """Frames and samples of a run, appended as they come, and every second the state from which it goes on.

    Frames (extxyz) are for people and follow those of earlier runs in the same file; samples (float64) are for the report. A state
    knows how long both files were. Taking the run up cuts off what was written after it, half a frame too, and rewrites nothing before.
    Where the frames are not those that it knows, by their checksum, another run has written there since, and the run starts anew.

    Args:
        frames: file of the frames.
        begin: where those of this run begin in it, bytes.
        folder: where samples and state are kept.
        n_atoms: of a sample.
    """

    def __init__(self, frames: Path, begin: int, folder: Path, n_atoms: int) -> None:
        self.begin = begin
        self._frames, self._samples, self._state = frames, folder / "samples.f64", folder / "state.npz"
        self._type = sample_type(n_atoms)
        self._next = 0.0
        self._checksum = hashlib.sha256()

    def resume(self) -> Walker | None:
        """The last state; None, with everything removed that this run had written, where there is none that fits the files."""
        self._samples.parent.mkdir(parents=True, exist_ok=True)
        self._frames.parent.mkdir(parents=True, exist_ok=True)
        walker = read_walker(self._state) if self._state.is_file() else None
        if walker is not None and self._fits(walker):
            ends = walker.memory["ends"].tolist()
        else:
            walker, ends = None, [self.begin, 0]
            self._state.unlink(missing_ok=True)
        for path, end in zip((self._frames, self._samples), ends, strict=True):
            with path.open("ab") as stream:
                stream.truncate(end)
        return walker

    def append(self, frame: Atoms) -> None:
        """Write a frame."""
        words = io.StringIO()
        write(words, frame, format="extxyz")
        written = words.getvalue().encode()
        with self._frames.open("ab") as stream:
            stream.write(written)
        self._checksum.update(written)

    def append_sample(self, sample: Mapping[str, float | np.ndarray]) -> None:
        """Write a sample: the numbers and arrays that `sample_type` names."""
        with self._samples.open("ab") as stream:
            stream.write(np.array([tuple(sample[name] for name in self._type.names or ())], dtype=self._type).tobytes())

    def is_due(self) -> bool:
        """Whether the last state is old enough for another."""
        return time.monotonic() >= self._next

    def keep(self, walker: Walker) -> None:
        """Write the state; whatever happens on the way, the one before stays readable."""
        walker.memory["ends"] = np.array([_size(self._frames), _size(self._samples)])
        walker.memory["checksum"] = np.array(self._checksum.hexdigest())
        walker.write(self._state)
        self._next = time.monotonic() + EVERY_S

    def samples(self) -> np.ndarray:
        """All samples of the run, in rows."""
        return np.fromfile(self._samples, dtype=self._type)

    def end(self) -> int:
        """Where the frames of this run end in their file, bytes."""
        return _size(self._frames)

    def _fits(self, walker: Walker) -> bool:
        """Whether both files hold what a state says that they did."""
        end, samples = walker.memory["ends"].tolist()
        if min(end - self.begin, _size(self._frames) - end, _size(self._samples) - samples) < 0:
            return False
        with self._frames.open("rb") as stream:
            stream.seek(self.begin)
            self._checksum = hashlib.sha256(stream.read(end - self.begin))
        fits = self._checksum.hexdigest() == str(walker.memory["checksum"])
        if not fits:
            self._checksum = hashlib.sha256()
        return fits


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
