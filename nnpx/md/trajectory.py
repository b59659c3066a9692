"""What was sampled, and how it is kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from nnpx.md.momenta import temperature_K


@dataclass(frozen=True)
class Trajectory:
    """What was sampled, at equal times; sample 0 is the start of production."""

    start: Atoms  #: the structure at sample 0, with cell and elements
    degrees_of_freedom: int  #: f in T = 2 E_kin / (f k)
    timestep_fs: float  #: Δt
    time_ps: Float[np.ndarray, " sample"]  #: since sample 0
    positions: Float[np.ndarray, "sample atom 3"]  #: Å
    potential: Float[np.ndarray, " sample"]  #: V, eV
    kinetic: Float[np.ndarray, " sample"]  #: eV
    energy_std: Float[np.ndarray, " sample"]  #: spread of the members' V, eV; NaN without an ensemble
    steps: int  #: equilibration and production
    wall_s: float  #: time that the steps took

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

    def write(self, path: Path) -> None:
        """All numbers in one file (npz), written beside and renamed so that it is whole or not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"writing-{path.name}")
        start = {"numbers": self.start.numbers, "start": self.start.positions, "cell": self.start.cell.array, "pbc": self.start.pbc}
        scalars = {name: np.array(getattr(self, name)) for name in _SCALARS}
        series = {name: getattr(self, name) for name in _SERIES}
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **start, **scalars, **series)
        beside.replace(path)


#: the single numbers
_SCALARS = ("degrees_of_freedom", "timestep_fs", "steps", "wall_s")
#: the single numbers
_SCALARS = ("degrees_of_freedom", "timestep_fs", "steps", "wall_s")
#: the arrays with one entry per sample
_SERIES = ("time_ps", "positions", "potential", "kinetic", "energy_std")


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory that `Trajectory.write` kept."""
    with np.load(path) as kept:
        return Trajectory(
            start=Atoms(kept["numbers"], kept["start"], cell=kept["cell"], pbc=kept["pbc"]),
            degrees_of_freedom=int(kept["degrees_of_freedom"]),
            timestep_fs=float(kept["timestep_fs"]),
            steps=int(kept["steps"]),
            wall_s=float(kept["wall_s"]),
            **{name: kept[name] for name in _SERIES},
        )
