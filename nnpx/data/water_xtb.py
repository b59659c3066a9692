"""Water clusters: one potential for compositions of different size."""

from pathlib import Path
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt, Len
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray

from nnpx.data.jobs import Dynamics, Job, Trajectory
from nnpx.data.source import Gathered, Run, Source, labelled
from nnpx.data.split import Split
from nnpx.errors import GeometryError


@final
class WaterXTB(Source):
    """Frames of Langevin trajectories of clusters of 1, 2, … molecules, each started from a random relaxed packing.

    The energy of n molecules is not n times that of one: what is left is the hydrogen bond, which only the comparison of
    compositions shows.

    Args:
        sizes: molecules per cluster.
        n_trajectories: independent packings per size.
        n_frames: frames per trajectory.
        temperature_K: of the bath, K.
        timestep_fs: integration step, fs.
        friction_per_fs: coupling to the bath, 1/fs.
        n_relax: steps of minimisation that bring the molecules together.
        n_equilibration: steps before the first frame.
        stride: steps between frames.
        spacing: smallest distance between oxygen atoms in the packing, Å.
        isolated_atoms: whether isolated atoms are labelled too.
        split: see `Source`.
        minimum_distance: see `Source`.
        near_duplicate: see `Source`.
        allow_missing: see `Source`.
    """

    def __init__(
        self,
        *,
        sizes: Annotated[list[Annotated[int, Gt(0)]], Len(1)],
        n_trajectories: Annotated[int, Gt(0)],
        n_frames: Annotated[int, Gt(0)],
        temperature_K: Annotated[float, Gt(0)],
        timestep_fs: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Gt(0)],
        n_relax: Annotated[int, Ge(0)],
        n_equilibration: Annotated[int, Ge(0)],
        stride: Annotated[int, Gt(0)],
        spacing: Annotated[float, Gt(0)],
        isolated_atoms: bool,
        split: Split,
        minimum_distance: Annotated[float, Ge(0)],
        near_duplicate: Annotated[float, Ge(0)],
        allow_missing: bool,
    ) -> None:
        super().__init__(split=split, minimum_distance=minimum_distance, near_duplicate=near_duplicate, allow_missing=allow_missing)
        self.sizes, self.n_trajectories, self.n_frames = sizes, n_trajectories, n_frames
        self.temperature_K, self.spacing, self.isolated_atoms = temperature_K, spacing, isolated_atoms
        self.dynamics = Dynamics(timestep_fs, friction_per_fs, n_relax, n_equilibration, stride)

    def inputs(self, folder: Path) -> list[Path]:
        """None: everything is made here."""
        return []

    def gather(self, run: Run, folder: Path, seed: int) -> Gathered:
        """Trajectories of every size, and isolated atoms."""
        jobs: list[Job] = []
        for size in self.sizes:
            for repeat in range(self.n_trajectories):
                name = f"water_{size}_{repeat}"
                atoms = packed(size, self.spacing, np.random.default_rng((seed, 3, size, repeat)))
                atoms.info = {"group": name}
                jobs.append(Trajectory(name, atoms, self.temperature_K, self.dynamics, self.n_frames, (seed, 4, size, repeat)))
        return labelled(run, jobs, ["H", "O"] if self.isolated_atoms else [])


def packed(size: int, spacing: float, generator: np.random.Generator) -> Atoms:
    """Molecules of random orientation around one point, oxygen atoms at least `spacing` (Å) apart.

    Raises:
        GeometryError: no room was found for the next molecule.
    """
    centres: list[NDArray[np.float64]] = []
    cluster = Atoms()
    radius = spacing * size ** (1 / 3)
    for _ in range(10_000):
        if len(centres) == size:
            break
        trial = generator.uniform(-radius, radius, 3)
        if all(float(np.linalg.norm(trial - centre)) >= spacing for centre in centres):
            centres.append(trial)
            one = molecule("H2O")
            one.positions = (one.positions - one.positions[0]) @ _rotation(generator).T + trial
            cluster += one
    if len(centres) < size:
        raise GeometryError("data.spacing", expected=f"room for {size} molecules", found=f"{len(centres)}", do="Lower data.spacing.")
    return cluster


def _rotation(generator: np.random.Generator) -> NDArray[np.float64]:
    """A rotation drawn uniformly: from a random unit quaternion."""
    w, x, y, z = _unit(generator.standard_normal(4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.sqrt(np.sum(vector**2))
    return unit
