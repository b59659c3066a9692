"""One walker's way through a round, and how it is written down."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms

from nnpx.acquisition.threshold import Limits
from nnpx.data.files import open_structures
from nnpx.data.frames import geometry, text, write
from nnpx.files import write_json
from nnpx.learning.places import RoundFolder
from nnpx.md.record import Joined
from nnpx.md.walker import Walker
from nnpx.md.watchdog import Guard

#: how a walker's way through a round may end
ARRIVED: Final = "arrived"  # it walked for as long as a round is
PAUSED: Final = "paused"  # it found as many candidates as it may
LOST: Final = "lost"  # the uncertainty went beyond the band
FOREIGN: Final = "on foreign ground"  # an atom came too far from all of training for the uncertainty to be believed
ABSURD: Final = "absurd"  # the structure left what a molecule or crystal can be
UNKNOWN: Final = "unknown element"  # the potential cannot move it yet


@dataclass
class Way:
    """One walker's way through a round."""

    name: str
    walker: Walker
    guard: Guard
    timestep_fs: float
    trail: Joined  #: what is kept of it to look at
    fate: str = ""  #: empty while it is on its way
    walked_fs: float = 0.0  #: in this round
    measured: float = np.inf  #: at the last look, eV/Å; infinite where nothing was
    level: float = 0.0  #: its uncertainty in units of the upper limit
    cannot_begin: bool = False  #: the potential knows too little of the structure that it begins with
    candidates: list[Atoms] = field(default_factory=list)
    frames: list[Atoms] = field(default_factory=list)  #: at every look at which it was to be trusted
    uncertainty: list[float] = field(default_factory=list)  #: at every look, eV/Å, cut off where the band has long ended
    trusted: tuple[int, np.ndarray, np.ndarray] | None = None  #: step, positions and momenta at the last of the frames

    def trust(self, uncertainty: float) -> None:
        """Remember where the walker is now, and how uncertain that is (eV/Å)."""
        atoms, step = self.walker.atoms, self.walker.step
        self.trusted = (step, atoms.positions.copy(), atoms.get_momenta())
        info = {"group": "learned", "walker": self.name, "time_fs": step * self.timestep_fs, "uncertainty": uncertainty}
        self.frames.append(geometry(atoms, info=info))

    def show(self) -> None:
        """Add where the walker is now to its trail, with what was measured there; but for coordinates that are no numbers."""
        atoms = self.walker.atoms
        if not np.isfinite(atoms.positions).all():
            return
        known: dict[str, Any] = {"walker": self.name, "time_fs": self.walker.step * self.timestep_fs}
        known |= {"uncertainty": self.measured} if np.isfinite(self.measured) else {}
        known |= {"fate": self.fate} if self.fate else {}
        self.trail.append(text(geometry(atoms, info=known)).encode())

    def return_to_trusted(self) -> None:
        """Put the walker back to the last of its frames, with the momenta that it had there."""
        if self.trusted is not None:
            self.walker.step, self.walker.atoms.positions, momenta = self.trusted
            self.walker.atoms.set_momenta(momenta)


def write_ways(ways: Sequence[Way], here: RoundFolder, *, limits: Limits, random: np.random.Generator, n_drawn: int) -> None:
    """The state of the walkers, their candidates, some of their frames at random, and what there is to tell.

    Args:
        ways: of all walkers.
        here: where to write.
        limits: the band.
        random: draws the frames.
        n_drawn: how many.
    """
    here.folder.mkdir(parents=True, exist_ok=True)
    met = [frame for way in ways for frame in way.frames[1:]]
    drawn = [met[k] for k in sorted(random.permutation(len(met))[:n_drawn].tolist())]
    new = [way.walker.atoms for way in ways if way.cannot_begin]
    write(here.candidates, [atoms for way in ways for atoms in way.candidates])
    write(here.drawn, [*(_because("drawn", atoms) for atoms in drawn), *(_because("new", atoms) for atoms in new)])
    told = [
        {
            "name": way.name,
            "fate": way.fate,
            "walked_ps": way.walked_fs / 1000,
            "time_ps": way.walker.step * way.timestep_fs / 1000,
            "n_candidates": len(way.candidates),
        }
        for way in ways
    ]
    uncertainty = [value for way in ways for value in way.uncertainty]
    band = {"lower": limits.lower, "upper": limits.upper}
    write_json(here.walk, {**band, "walkers": told, "uncertainty": uncertainty, "n_candidates": sum(len(way.candidates) for way in ways)})
    for k, way in enumerate(ways):
        way.walker.forces = None  # the next potential will have others
        way.walker.write(here.walker(k))


def read_frames(path: Path) -> list[Atoms]:
    """Unlabelled frames of a file that may be empty."""
    return open_structures(path) if path.stat().st_size else []


def _because(why: str, atoms: Atoms) -> Atoms:
    """The structure with a word that says why it is to be labelled."""
    return geometry(atoms, info={"group": "learned", **atoms.info, "why": why})
