"""The user's own geometries, labelled here."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, final

import numpy as np
from annotated_types import Ge
from ase import Atoms

from nnpx.data.checks import check_geometry
from nnpx.data.files import open_all
from nnpx.data.frames import geometry
from nnpx.data.jobs import SinglePoints
from nnpx.data.reader import called
from nnpx.data.source import Gathered, Run, Source, labelled
from nnpx.data.split import Split, group_in_file
from nnpx.errors import DataError
from nnpx.files import files_of


@final
class Unlabelled(Source):
    """Geometries of a file, each labelled by the reference engine; labels that the file may have are ignored.

    Args:
        path: the file, relative to the project, or a pattern of several; any format that ASE reads.
        group_key: `info` key that names groups; null takes `group`, else `config_type`.
        isolated_atoms: whether isolated atoms are labelled too.
        split: see `Source`.
        minimum_distance: see `Source`.
        near_duplicate: see `Source`.
        allow_missing: see `Source`.
    """

    def __init__(
        self,
        *,
        path: str,
        group_key: str | None,
        isolated_atoms: bool,
        split: Split,
        minimum_distance: Annotated[float, Ge(0)],
        near_duplicate: Annotated[float, Ge(0)],
        allow_missing: bool,
    ) -> None:
        super().__init__(split=split, minimum_distance=minimum_distance, near_duplicate=near_duplicate, allow_missing=allow_missing)
        self.path, self.group_key, self.isolated_atoms = path, group_key, isolated_atoms

    def inputs(self, folder: Path) -> list[Path]:
        """The given files."""
        return files_of(self.path, folder)

    def gather(self, run: Run, folder: Path, seed: int) -> Gathered:
        """One job per geometry: an expensive engine loses no more than one when it is killed.

        Raises:
            DataError: the file cannot be read, or its structures differ in their total charge (`info["charge"]`, e).
            GeometryError: atoms too close, or a cell without volume or left-handed.
        """
        given = open_all(self.path, folder)
        stated = [atoms.info.get("charge", 0.0) for atoms in given]
        charges = sorted({float(charge) for charge in stated if isinstance(charge, int | float | np.number)}) or [0.0]
        if len(charges) > 1:
            found, do = (
                f"charges of {', '.join(f'{charge:g}' for charge in charges)} e",
                "Label each apart, with its reference.charge.",
            )
            raise DataError(called(Path(self.path)), expected="one total charge, which a potential cannot tell apart", found=found, do=do)
        geometries = [self._bare(atoms) for atoms in given]
        check_geometry(geometries, called(Path(self.path)), minimum_distance=self.minimum_distance)
        jobs = [SinglePoints(f"structure {index} of {self.path}", (atoms,)) for index, atoms in enumerate(geometries)]
        elements = {str(symbol) for atoms in geometries for symbol in atoms.symbols} if self.isolated_atoms else set()
        remark = [] if charges == [0.0] else [f"info['charge'] = {charges[0]:g} e is not read: make sure that reference.charge is the same"]
        return replace(labelled(run, jobs, sorted(elements)), found=remark)

    def _bare(self, atoms: Atoms) -> Atoms:
        return geometry(atoms, info={"group": group_in_file(atoms, self.group_key)})
