"""What was sampled, and how it is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from nnpx.files import whole
from nnpx.md.momenta import temperature_K


@dataclass(frozen=True)
class Trajectory:
    """What was sampled, at equal times; sample 0 is the start of production."""

    start: Atoms  #: the structure at sample 0, with cell, elements and masses
    degrees_of_freedom: int  #: f in T = 2 E_kin / (f k)
    timestep_fs: float  #: Δt
    time_ps: Float[np.ndarray, " sample"]  #: since sample 0
    positions: Float[np.ndarray, "sample atom 3"]  #: Å
    potential: Float[np.ndarray, " sample"]  #: V, eV
    kinetic: Float[np.ndarray, " sample"]  #: eV
    energy_std: Float[np.ndarray, " sample"]  #: spread of the members' V, eV; NaN without an ensemble
    steps: int  #: equilibration and production
    wall_s: float  #: time that the steps took
    velocities: Float[np.ndarray, "sample atom 3"]  #: Å per Å √(amu/eV)
    cell: Float[np.ndarray, "sample 3 3"]  #: rows, Å
    conserved: Float[np.ndarray, " sample"]  #: what the equations of motion conserve, eV; NaN where noise conserves nothing
    pressure: Float[np.ndarray, " sample"]  #: with that of the motion, eV/Å³; NaN where the cell does not move

    @property
    def ns_per_day(self) -> float:
        """Simulated time per day of wall time."""
        return self.steps * self.timestep_fs * 1e-6 / (self.wall_s / 86400.0)

    @property
    def total(self) -> Float[np.ndarray, " sample"]:
        """V + E_kin, eV."""
        return np.asarray(self.potential + self.kinetic)

    @property
    def temperature_K(self) -> Float[np.ndarray, " sample"]:
        """Temperature at each sample."""
        return np.array([temperature_K(float(energy), self.degrees_of_freedom) for energy in self.kinetic])

    def structures(self, most: int) -> list[Atoms]:
        """Samples at equal times: at least as many as are asked for, where there are, and less than twice as many."""
        step = max(1, len(self.positions) // most)
        chosen = zip(self.positions[::step], self.cell[::step], strict=True)
        return [Atoms(self.start.numbers, frame, cell=cell, pbc=self.start.pbc) for frame, cell in chosen]

    def write(self, path: Path) -> None:
        """All numbers in one file (npz), which is whole or not there."""
        start = {"numbers": self.start.numbers, "masses": self.start.get_masses(), "pbc": self.start.pbc}
        scalars = {name: np.array(getattr(self, name)) for name in _SCALARS}
        series = {name: getattr(self, name) for name in _SERIES}
        with whole(path) as file:
            np.savez(file, allow_pickle=False, **start, **scalars, **series)


#: the single numbers
_SCALARS = ("degrees_of_freedom", "timestep_fs", "steps", "wall_s")
#: the arrays with one entry per sample
_SERIES = ("time_ps", "positions", "potential", "kinetic", "energy_std", "velocities", "cell", "conserved", "pressure")


def sample_type(n_atoms: int) -> np.dtype:
    """One sample as a row of float64 numbers, by the names of the arrays of a trajectory."""
    shapes = {"positions": (n_atoms, 3), "velocities": (n_atoms, 3), "cell": (3, 3)}
    return np.dtype([(name, "<f8", shapes.get(name, ())) for name in _SERIES])


def structure_at_start(samples: np.ndarray, like: Atoms) -> Atoms:
    """The structure at sample 0; elements, masses and periodicity are those of another."""
    return Atoms(like.numbers, samples["positions"][0], masses=like.get_masses(), cell=samples["cell"][0], pbc=like.pbc)


def from_samples(samples: np.ndarray, **known: Any) -> Trajectory:
    """The trajectory of the rows of a run."""
    series: dict[str, Any] = {name: np.ascontiguousarray(samples[name]) for name in _SERIES}
    return Trajectory(**series, **known)


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory that `Trajectory.write` kept."""
    with np.load(path) as kept:
        return Trajectory(
            start=Atoms(kept["numbers"], kept["positions"][0], masses=kept["masses"], cell=kept["cell"][0], pbc=kept["pbc"]),
            degrees_of_freedom=int(kept["degrees_of_freedom"]),
            timestep_fs=float(kept["timestep_fs"]),
            steps=int(kept["steps"]),
            wall_s=float(kept["wall_s"]),
            **{name: kept[name] for name in _SERIES},
        )
