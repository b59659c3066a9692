"""The user's own labelled file, in whatever format ASE reads."""

from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge
from ase import Atoms

from nnpx.data.reader import SAME_ENERGY, Reading, called, read_all, read_isolated
from nnpx.data.source import NOT_STATED, Gathered, Run, Source
from nnpx.data.split import GIVEN, Split, group_in_file
from nnpx.errors import DataError
from nnpx.files import files_of
from nnpx.structures import ERROR_BAR


@final
class File(Source):
    """Structures with energies and, where there are, forces and stress; published valid and test files keep their parts.

    Labels are found in calculator results, `info` and `arrays`, under ASE's names and the usual prefixes; `keys` names others. A virial
    W (eV) becomes the stress −W / volume.

    Args:
        path: the file, relative to the project, or a pattern of several.
        path_valid: a file of its own for validation, or null.
        path_test: a file of its own for the test, or null.
        keys: own names of energy, forces, stress or virial; null searches. That of energy_std, the error bar of the energy (eV), is never
            searched: a spread of some ensemble may have that name.
        isolated_atoms: a file with one atom per structure, or null.
        group_key: `info` key that names groups; null takes `group`, else `config_type`.
        level_of_theory: of the labels, in words; null when nobody knows.
        split: see `Source`.
        minimum_distance: see `Source`.
        near_duplicate: see `Source`.
        allow_missing: see `Source`.
    """

    def __init__(
        self,
        *,
        path: str,
        path_valid: str | None,
        path_test: str | None,
        keys: dict[Literal["energy", "forces", "stress", "virial", "energy_std"], str | None],
        isolated_atoms: str | None,
        group_key: str | None,
        level_of_theory: str | None,
        split: Split,
        minimum_distance: Annotated[float, Ge(0)],
        near_duplicate: Annotated[float, Ge(0)],
        allow_missing: bool,
    ) -> None:
        super().__init__(split=split, minimum_distance=minimum_distance, near_duplicate=near_duplicate, allow_missing=allow_missing)
        self.paths = {"pool": path, "valid": path_valid, "test": path_test}
        self.keys = {str(label): name for label, name in keys.items() if name is not None}
        self.energy_std = self.keys.pop("energy_std", None)
        self.isolated_atoms, self.group_key, self.level_of_theory = isolated_atoms, group_key, level_of_theory

    def inputs(self, folder: Path) -> list[Path]:
        """The given files."""
        given = [name for name in (*self.paths.values(), self.isolated_atoms) if name is not None]
        return [file for name in given for file in files_of(name, folder)]

    def gather(self, run: Run, folder: Path, seed: int) -> Gathered:
        """Read, check, and mark the groups; nothing is labelled.

        Raises:
            DataError: see `nnpx.data.reader` and `nnpx.data.checks`.
            GeometryError: see `nnpx.data.checks`.
        """
        readings = {part: read_all(Path(name), keys=self.keys, folder=folder) for part, name in self.paths.items() if name is not None}
        structures: list[Atoms] = []
        for part, reading in readings.items():
            name = called(Path(str(self.paths[part])))
            if part == "pool" and not reading.structures:
                raise DataError(name, expected="structures", found="isolated atoms only", do="Give them as data.isolated_atoms.")
            self.check(reading.structures, name, reading.frames)
            structures.extend(self._marked(reading.structures, part))
        if len(readings) > 1:
            self.check(structures, "all files together")
        found = [line if len(readings) == 1 else f"{part}: {line}" for part, each in readings.items() for line in each.found]
        return Gathered(structures, self._isolated(readings, folder), [], found, self.level_of_theory or NOT_STATED)

    def _marked(self, structures: list[Atoms], part: str) -> list[Atoms]:
        marks = {} if part == "pool" else {GIVEN: part}
        for atoms in structures:
            group = group_in_file(atoms, self.group_key)
            atoms.info.pop(GIVEN, None)
            bar = self._error_bar(atoms)
            atoms.info.pop(ERROR_BAR, None)  # a name that has a meaning here, and none that the user gave it
            atoms.info.update(bar)
            atoms.info.update(group=group, **marks)
        return structures

    def _error_bar(self, atoms: Atoms) -> dict[str, float]:
        if self.energy_std is None:
            return {}
        bar = atoms.info.get(self.energy_std)
        if not isinstance(bar, int | float | np.number) or not np.isfinite(bar) or bar <= 0:
            where, do = f"data.keys.energy_std={self.energy_std}", "Correct the key, or remove the structure."
            raise DataError(where, expected="a positive number (eV) in info of every structure", found=str(bar), do=do)
        return {ERROR_BAR: float(bar)}

    def _isolated(self, readings: dict[str, Reading], folder: Path) -> dict[str, float]:
        energies: dict[str, float] = {}
        for symbol, energy in (item for reading in readings.values() for item in reading.isolated.items()):
            if abs(energies.setdefault(symbol, energy) - energy) > SAME_ENERGY:
                found, do = f"{energies[symbol]} and {energy} eV in two files", "Give the right ones in a file, data.isolated_atoms."
                raise DataError(f"isolated {symbol}", expected="one energy", found=found, do=do)
        own = {} if self.isolated_atoms is None else read_isolated(self.isolated_atoms, folder, keys=self.keys)
        return {**energies, **own}
