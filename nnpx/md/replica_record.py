"""What replicas leave behind on their way, and how they are taken up where they were killed."""

import shutil
import time
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from nnpx.md.record import EVERY_S, Growing
from nnpx.md.walker import Walker, read_if_whole

#: what the first walker remembers of the file of the course, by the names in its state
_LENGTH, _CHECKSUM = "course_length", "course_checksum"


@final
class ReplicaRecord:
    """The states of all replicas at a look, and what was written down at every look before, which is only added to.

    A state knows how long the course was, and its checksum. Taking the replicas up cuts off what was written after it; where what remains
    is not what was written, they start anew.

    Args:
        folder: for both; of these replicas alone.
        n_replicas: how many.
    """

    def __init__(self, folder: Path, n_replicas: int) -> None:
        self._folder, self._n_replicas = folder, n_replicas
        self._course = Growing(folder / "course.f64")
        self._next = 0.0

    def resume(self) -> list[Walker]:
        """The states of the last look; none, with all that was written removed, where there was none or one of the files is not whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        looks = sorted(self._folder.glob("look-*"))
        read = [read_if_whole(path) for path in sorted(looks[-1].glob("*.npz"))] if looks else []
        walkers = [walker for walker in read if walker is not None]
        if len(walkers) == self._n_replicas and self._fits(walkers[0]):
            return walkers
        for one in looks:
            shutil.rmtree(one)
        self._course.cut(0)
        return []

    def append(self, samples: Float[np.ndarray, "replica 3"]) -> None:
        """Write down V, E_kin and the members' spread of V (eV) at a look."""
        self._course.append(samples.astype("<f8").tobytes())

    def is_due(self) -> bool:
        """Whether the last states are old enough for others."""
        return time.monotonic() >= self._next

    def keep(self, walkers: list[Walker], look: int) -> None:
        """All states or none: written beside and renamed; then those of the look before can go."""
        walkers[0].memory |= {_LENGTH: np.array(self._course.length), _CHECKSUM: np.array(self._course.checksum)}
        draft = self._folder / "writing"
        shutil.rmtree(draft, ignore_errors=True)
        for k, walker in enumerate(walkers):
            walker.write(draft / f"{k:05d}.npz")
        older = list(self._folder.glob("look-*"))
        draft.rename(self._folder / f"look-{look:09d}")
        for one in older:
            shutil.rmtree(one)
        self._next = time.monotonic() + EVERY_S

    def course(self) -> tuple[Float[np.ndarray, "look replica"], Float[np.ndarray, "look replica"], Float[np.ndarray, "look replica"]]:
        """V, E_kin and the members' spread of V at all looks, eV."""
        potential, kinetic, spread = np.moveaxis(np.fromfile(self._course.path, dtype="<f8").reshape(-1, self._n_replicas, 3), 2, 0)
        return potential, kinetic, spread

    def _fits(self, first: Walker) -> bool:
        """Whether the course begins with what the states say that it held; what follows it is cut off."""
        return self._course.cut(int(first.memory[_LENGTH])) == str(first.memory[_CHECKSUM])
