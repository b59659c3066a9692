"""Ethanol: the smallest molecule with a bond of every kind in organic chemistry, and with a torsion."""

from pathlib import Path
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt, Len
from ase.build import molecule

from nnpx.data.jobs import Dynamics, Job, SinglePoints, Trajectory
from nnpx.data.source import Gathered, Run, Source, labelled
from nnpx.data.split import Split

_CHUNK = 20  # displaced geometries in one job


@final
class EthanolXTB(Source):
    """Frames of Langevin trajectories at several temperatures, and randomly displaced geometries between and beyond them.

    Dynamics visits what is likely; displacements (normal, with a width drawn uniformly up to `displacement`) add what is steep, so
    that a potential learns where not to go.

    Args:
        temperatures_K: one set of trajectories each, K.
        n_trajectories: independent trajectories per temperature.
        n_frames: frames per trajectory.
        timestep_fs: integration step, fs.
        friction_per_fs: coupling to the bath, 1/fs.
        n_equilibration: steps before the first frame.
        stride: steps between frames.
        n_displaced: displaced geometries.
        displacement: largest width of the displacements, Å.
        isolated_atoms: whether isolated atoms are labelled too.
        split: see `Source`.
        minimum_distance: see `Source`.
        near_duplicate: see `Source`.
        allow_missing: see `Source`.
    """

    def __init__(
        self,
        *,
        temperatures_K: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        n_trajectories: Annotated[int, Gt(0)],
        n_frames: Annotated[int, Gt(0)],
        timestep_fs: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Gt(0)],
        n_equilibration: Annotated[int, Ge(0)],
        stride: Annotated[int, Gt(0)],
        n_displaced: Annotated[int, Ge(0)],
        displacement: Annotated[float, Ge(0)],
        isolated_atoms: bool,
        split: Split,
        minimum_distance: Annotated[float, Ge(0)],
        near_duplicate: Annotated[float, Ge(0)],
        allow_missing: bool,
    ) -> None:
        super().__init__(split=split, minimum_distance=minimum_distance, near_duplicate=near_duplicate, allow_missing=allow_missing)
        self.temperatures_K, self.n_trajectories, self.n_frames = temperatures_K, n_trajectories, n_frames
        self.dynamics = Dynamics(timestep_fs, friction_per_fs, 0, n_equilibration, stride)
        self.n_displaced, self.displacement, self.isolated_atoms = n_displaced, displacement, isolated_atoms

    def inputs(self, folder: Path) -> list[Path]:
        """None: everything is made here."""
        return []

    def gather(self, run: Run, folder: Path, seed: int) -> Gathered:
        """Trajectories, displaced geometries and isolated atoms."""
        elements = sorted(set(map(str, molecule("CH3CH2OH").symbols))) if self.isolated_atoms else []
        return labelled(run, [*self._trajectories(seed), *self._displaced(seed)], elements)

    def _trajectories(self, seed: int) -> list[Job]:
        jobs: list[Job] = []
        for level, temperature in enumerate(self.temperatures_K):
            for repeat in range(self.n_trajectories):
                name = f"md_{temperature:g}K_{repeat}"
                atoms = molecule("CH3CH2OH")
                atoms.info = {"group": name}
                jobs.append(Trajectory(name, atoms, temperature, self.dynamics, self.n_frames, (seed, 1, level, repeat)))
        return jobs

    def _displaced(self, seed: int) -> list[Job]:
        generator = np.random.default_rng((seed, 2))
        structures = []
        for _ in range(self.n_displaced):
            atoms = molecule("CH3CH2OH")
            atoms.info = {"group": "displaced"}
            atoms.positions += generator.uniform(0, self.displacement) * generator.standard_normal((len(atoms), 3))
            structures.append(atoms)
        chunks = [structures[start : start + _CHUNK] for start in range(0, len(structures), _CHUNK)]
        return [SinglePoints(f"displaced {index}", tuple(chunk)) for index, chunk in enumerate(chunks)]
