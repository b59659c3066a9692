"""One walker's way through a round, and how it is written down."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms

from nnpx.acquisition.threshold import Limits
from nnpx.data.files import open_structures
from nnpx.data.frames import write, write_json
from nnpx.learning.places import Place
from nnpx.md.watchdog import Guard

#: how a walker's way through a round may end
ARRIVED: Final = "arrived"  # it walked for as long as a round is
PAUSED: Final = "paused"  # it found as many candidates as it may
LOST: Final = "lost"  # the uncertainty went beyond the band
ABSURD: Final = "absurd"  # the structure left what a molecule or crystal can be
UNKNOWN: Final = "unknown element"  # the potential cannot move it yet


@dataclass
class Way:
    """One walker's way through a round."""

    name: str
    temperature_K: float
    atoms: Atoms  #: where it is, with momenta
    guard: Guard
    time_fs: float  #: since it began, in all rounds
    walked_fs: float = 0.0  #: in this round
    fate: str = ""  #: empty while it is on its way
    level: float = 0.0  #: its uncertainty in units of the upper limit
    candidates: list[Atoms] = field(default_factory=list)
    frames: list[Atoms] = field(default_factory=list)
    uncertainty: list[float] = field(default_factory=list)
    trusted: tuple[float, np.ndarray, np.ndarray] | None = None  #: time, positions and momenta at the last look that was right


def write_ways(ways: Sequence[Way], here: Place, *, limits: Limits, factor: float, random: np.random.Generator, n_drawn: int) -> None:
    """The state of the walkers, their candidates, some of their frames at random, and what there is to tell.

    Args:
        ways: of all walkers.
        here: where to write.
        limits: the band.
        factor: of the calibration.
        random: draws the frames.
        n_drawn: how many.
    """
    here.folder.mkdir(parents=True, exist_ok=True)
    met = [frame for way in ways for frame in way.frames[1:]]
    drawn = [met[k] for k in sorted(random.permutation(len(met))[:n_drawn].tolist())]
    new = [way.atoms for way in ways if way.fate == UNKNOWN]
    for frames, why in ((drawn, "drawn"), (new, "new")):
        for atoms in frames:
            atoms.info["why"] = why
    write(here.candidates, [_plain(atoms, {}) for way in ways for atoms in way.candidates])
    write(here.drawn, [_plain(atoms, {"why": atoms.info["why"]}) for atoms in [*drawn, *new]])
    told = [
        {
            "name": way.name,
            "fate": way.fate,
            "walked_ps": way.walked_fs / 1000,
            "time_ps": way.time_fs / 1000,
            "n_candidates": len(way.candidates),
        }
        for way in ways
    ]
    uncertainty = [value for way in ways for value in way.uncertainty]
    band = {"lower": limits.lower, "upper": limits.upper, "calibration": factor}
    write_json(here.walk, {**band, "walkers": told, "uncertainty": uncertainty, "n_candidates": sum(len(way.candidates) for way in ways)})
    _save_state(ways, here.state)


def restored(state: Path, number: int, start: Atoms) -> tuple[Atoms, float] | None:
    """Where a walker was, with its momenta, and how long it had walked (fs); None before the first round.

    Args:
        state: file of the round before.
        number: of the walker.
        start: its start structure: elements, cell, periodicity.
    """
    if not state.is_file():
        return None
    with np.load(state) as kept:
        atoms = Atoms(start.numbers, kept[f"positions_{number}"], cell=start.cell, pbc=start.pbc)
        atoms.set_momenta(kept[f"momenta_{number}"])
        return atoms, float(kept["time_fs"][number])


def read_frames(path: Path) -> list[Atoms]:
    """Unlabelled frames of a file that may be empty."""
    return open_structures(path) if path.stat().st_size else []


def frame(way: Way, uncertainty: float) -> Atoms:
    """Where a walker is now, with what is known of it."""
    atoms = way.atoms
    info = {"group": "learned", "walker": way.name, "time_fs": way.time_fs, "uncertainty": uncertainty}
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)


def _plain(atoms: Atoms, info: dict[str, str]) -> Atoms:
    kept = {key: value for key, value in atoms.info.items() if key != "why"}
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={**kept, **info})


def _save_state(ways: Sequence[Way], path: Path) -> None:
    arrays = {f"positions_{k}": way.atoms.positions for k, way in enumerate(ways)}
    arrays |= {f"momenta_{k}": way.atoms.get_momenta() for k, way in enumerate(ways)}
    beside = path.with_name(f"writing-{path.name}")
    with beside.open("wb") as file:
        np.savez(file, allow_pickle=False, time_fs=np.array([way.time_fs for way in ways]), **arrays)
    beside.replace(path)
