"""What a run leaves behind on its way, and how it is taken up where it was killed."""

import hashlib
import io
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import numpy as np
from ase import Atoms
from ase.io import write

from nnpx.files import naming
from nnpx.md.trajectory import sample_type
from nnpx.md.walker import Walker, read_if_whole

#: s; a state is kept at the first sample that comes so long after the last state
EVERY_S: Final = 1.0


@final
class Joined:
    """The frames of all runs of a simulation, one run after the other, in a file that grows while they are made.

    It is a copy for people. Every run keeps frames of its own, from which the file is made anew when the simulation is taken up, so
    that no run depends on what another has written.

    Args:
        path: the file (extxyz); what it held is gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def append(self, frames: bytes) -> None:
        """Add frames as they are made."""
        with naming(self._path), self._path.open("ab") as stream:
            stream.write(frames)

    def append_file(self, frames: Path) -> None:
        """Add the frames that a run had kept."""
        with naming(self._path), frames.open("rb") as kept, self._path.open("ab") as stream:
            shutil.copyfileobj(kept, stream)


@final
class Record:
    """Frames and samples of a run, appended as they come, and the state from which it goes on.

    Frames (extxyz) are for people; samples (float64) are for the report. A state knows how long both files were, and their checksums.
    Taking the run up cuts off what was written after it, half a frame too, and rewrites nothing before. Where what remains is not what
    was written, the run starts anew.

    Args:
        folder: where frames, samples and state are kept; of this run alone.
        n_atoms: of a sample.
        joined: where its frames are shown after those of other runs; None where nobody looks.
    """

    def __init__(self, folder: Path, n_atoms: int, joined: Joined | None) -> None:
        self._frames, self._samples = Growing(folder / "frames.extxyz"), Growing(folder / "samples.f64")
        self._files = (self._frames, self._samples)
        self._state, self._joined = folder / "state.npz", joined
        self._type = sample_type(n_atoms)
        self._next = 0.0

    def resume(self) -> Walker | None:
        """The last state; None, with everything removed that this run had written, where there is none that fits the files."""
        self._state.parent.mkdir(parents=True, exist_ok=True)
        walker = read_if_whole(self._state)
        if walker is None or not self._fits(walker):
            walker = None
            self._state.unlink(missing_ok=True)
            for file in self._files:
                file.cut(0)
        if self._joined is not None:
            self._joined.append_file(self._frames.path)
        return walker

    def append(self, frame: Atoms) -> None:
        """Write a frame."""
        words = io.StringIO()
        write(words, frame, format="extxyz")
        written = words.getvalue().encode()
        self._frames.append(written)
        if self._joined is not None:
            self._joined.append(written)

    def append_sample(self, sample: Mapping[str, float | np.ndarray]) -> None:
        """Write a sample: the numbers and arrays that `sample_type` names."""
        self._samples.append(np.array([tuple(sample[name] for name in self._type.names or ())], dtype=self._type).tobytes())

    def is_due(self) -> bool:
        """Whether the last state is old enough for another."""
        return time.monotonic() >= self._next

    def keep(self, walker: Walker) -> None:
        """Write the state; whatever happens on the way, the one before stays readable."""
        walker.memory["lengths"] = np.array([file.length for file in self._files])
        walker.memory["checksums"] = np.array([file.checksum for file in self._files])
        walker.write(self._state)
        self._next = time.monotonic() + EVERY_S

    def samples(self) -> np.ndarray:
        """All samples of the run, in rows."""
        return np.fromfile(self._samples.path, dtype=self._type)

    def _fits(self, walker: Walker) -> bool:
        """Whether both files begin with what a state says that they held; what follows it is cut off."""
        kept = zip(self._files, walker.memory["lengths"].tolist(), walker.memory["checksums"].tolist(), strict=True)
        return all(file.cut(length) == checksum for file, length, checksum in kept)


@final
class Growing:
    """A file that is appended to, and the checksum of all that it holds."""

    def __init__(self, path: Path) -> None:
        self.path, self._digest = path, hashlib.sha256()

    @property
    def length(self) -> int:
        """In bytes."""
        return self.path.stat().st_size

    @property
    def checksum(self) -> str:
        """SHA-256."""
        return self._digest.hexdigest()

    def append(self, written: bytes) -> None:
        """At its end."""
        with naming(self.path), self.path.open("ab") as stream:
            stream.write(written)
        self._digest.update(written)

    def cut(self, length: int) -> str:
        """The checksum of its beginning, after which it ends now; a file that was shorter is filled up, which the checksum tells."""
        with self.path.open("ab+") as stream:
            if stream.seek(0, io.SEEK_END) != length:
                stream.truncate(length)
            stream.seek(0)
            self._digest = hashlib.file_digest(stream, "sha256")
        return self.checksum
