"""Silicon: a crystal with stress, small enough to be labelled while one waits."""

from pathlib import Path
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.build import bulk

from nnpx.data.jobs import SinglePoints
from nnpx.data.source import Gathered, Run, Source, labelled
from nnpx.data.split import Split


@final
class SiliconXTB(Source):
    """The cubic cell of diamond silicon (8 atoms), strained, displaced, and both.

    Strains ε are symmetric with independent normal components, x → (1 + ε) x; displacements are normal with a width drawn uniformly.
    The engine samples the Γ point only, so that energies of different supercells do not belong to one surface: one cell, always.

    Args:
        lattice_constant: of the unstrained cell, Å.
        n_strained: strained structures.
        n_displaced: displaced structures.
        n_both: strained and displaced structures.
        strain: standard deviation of the components of ε.
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
        lattice_constant: Annotated[float, Gt(0)],
        n_strained: Annotated[int, Ge(0)],
        n_displaced: Annotated[int, Ge(0)],
        n_both: Annotated[int, Ge(0)],
        strain: Annotated[float, Ge(0)],
        displacement: Annotated[float, Ge(0)],
        isolated_atoms: bool,
        split: Split,
        minimum_distance: Annotated[float, Ge(0)],
        near_duplicate: Annotated[float, Ge(0)],
        allow_missing: bool,
    ) -> None:
        super().__init__(split=split, minimum_distance=minimum_distance, near_duplicate=near_duplicate, allow_missing=allow_missing)
        self.lattice_constant, self.strain, self.displacement = lattice_constant, strain, displacement
        self.counts = {"strained": n_strained, "displaced": n_displaced, "both": n_both}
        self.isolated_atoms = isolated_atoms

    def inputs(self, folder: Path) -> list[Path]:
        """None: everything is made here."""
        return []

    def gather(self, run: Run, folder: Path, seed: int) -> Gathered:
        """Three groups, one structure per job."""
        generator = np.random.default_rng((seed, 5))
        jobs = [
            SinglePoints(f"{group} {index}", (self._structure(group, generator),))
            for group, count in self.counts.items()
            for index in range(count)
        ]
        return labelled(run, jobs, ["Si"] if self.isolated_atoms else [])

    def _structure(self, group: str, generator: np.random.Generator) -> Atoms:
        atoms = bulk("Si", "diamond", a=self.lattice_constant, cubic=True)
        atoms.info = {"group": group}
        if group != "displaced":
            random = generator.standard_normal((3, 3))
            strain = self.strain * (np.triu(random) + np.triu(random, 1).T)
            atoms.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + strain), scale_atoms=True)
        if group != "strained":
            width = generator.uniform(0, self.displacement)
            atoms.positions += width * generator.standard_normal((len(atoms), 3))
        return atoms
