"""Reading labelled structures, wherever their labels hide, and saying what was found."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from ase import Atoms

from nnpx.data.files import open_all, open_structures
from nnpx.data.finding import NAMES, Location, as_energy, as_forces, as_voigt, chosen, converted, look
from nnpx.data.frames import attach
from nnpx.errors import DataError
from nnpx.files import is_pattern

#: values of `config_type` that mark one atom in vacuum
_ISOLATED: Final = ("isolated_atom", "isolatedatom", "isolated")
#: eV; energies of one isolated atom may differ by so much, as they were written with more digits or fewer
SAME_ENERGY: Final = 1e-3
#: eV; energy and free energy that differ by more were computed with smeared occupations
_SMEARED: Final = 1e-5
#: every name that is a label, and therefore no property of its own
_CONSUMED: Final = frozenset(name for names in NAMES.values() for name in names)


@final
@dataclass(frozen=True)
class Reading:
    """A file as read.

    Args:
        structures: bare of constraints, with energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt, ASE's sign) where the file has them.
        isolated: energy (eV) of isolated atoms by element.
        found: what was found where, one line each.
        frames: of every structure, which frame of the file it is, from 0.
    """

    structures: list[Atoms]
    isolated: dict[str, float]
    found: list[str]
    frames: list[int]


def read(path: Path, *, keys: Mapping[str, str] | None = None) -> list[Atoms]:
    """Labelled structures of a file; isolated atoms are left out.

    Args:
        path: any file that ASE reads.
        keys: the user's own names of energy, forces, stress or virial; the rest is searched.

    Raises:
        DataError: the file cannot be read, has no energies, or has other things under those names.
    """
    return read_all(path, keys=keys).structures


def read_all(path: Path, *, keys: Mapping[str, str] | None = None, folder: Path | None = None) -> Reading:
    """The same with isolated atoms and with what was found where.

    Args:
        path: see `read`.
        keys: see `read`.
        folder: where the path starts, which then may be a pattern of several files.

    Raises:
        DataError: as `read`.
    """
    raw, name = (open_structures(path), path.name) if folder is None else (open_all(str(path), folder), called(path))
    lone = [index for index, atoms in enumerate(raw) if _is_isolated(atoms)]
    rest = [index for index in range(len(raw)) if index not in set(lone)]
    found: list[str] = []
    where = _locations([raw[index] for index in rest or lone], dict(keys or {}), name, found)
    where_lone = _locations([raw[index] for index in lone], dict(keys or {}), name, []) if lone else where
    structures = [_normal(raw[index], where, f"structure {index} of {name}") for index in rest]
    isolated = _isolated([_normal(raw[index], where_lone, f"structure {index} of {name}") for index in lone], name)
    if isolated:
        found.append(f"isolated atoms: {', '.join(sorted(isolated))}")
    found.extend(_free_energy_remark([raw[index] for index in rest], where["energy"]))
    found.extend(_constraint_remark([raw[index] for index in rest], structures))
    return Reading(structures, isolated, found, rest)


def called(path: Path) -> str:
    """A file by its name, a pattern as it is: structures are counted through all of its files."""
    return str(path) if is_pattern(str(path)) else path.name


def read_isolated(name: str, folder: Path, *, keys: Mapping[str, str] | None = None) -> dict[str, float]:
    """Energies (eV) of isolated atoms by element, from files that hold nothing else; no mark is needed.

    Raises:
        DataError: a structure has more than one atom, or as `read`.
    """
    raw, file = open_all(name, folder), called(Path(name))
    where = _locations(raw, dict(keys or {}), file, [])
    return _isolated([_normal(atoms, where, f"structure {index} of {file}") for index, atoms in enumerate(raw)], file)


def _is_isolated(atoms: Atoms) -> bool:
    return len(atoms) == 1 and str(atoms.info.get("config_type", "")).lower() in _ISOLATED


def _locations(structures: list[Atoms], keys: dict[str, str], file: str, found: list[str]) -> dict[str, Location | None]:
    where: dict[str, Location | None] = {}
    for label in ("energy", "forces", "stress", "virial"):
        location, remarks = chosen(structures, label, keys.get(label), file)
        where[label] = location
        if location is not None:
            found.append(f"{label} from {location} in {location.count} of {len(structures)} structures")
        found.extend(remarks)
    if where["energy"] is None:
        names = Counter(name for atoms in structures for name in (*atoms.info, *atoms.arrays) if name not in ("numbers", "positions"))
        raise DataError(
            file,
            expected="an energy in results, info or arrays (energy, REF_energy, dft_energy, …)",
            found=f"no labels; other entries: {', '.join(names) or 'none'}",
            do="Name yours with data.keys.energy=…, or label the geometries with data=unlabelled.",
        )
    if where["virial"] is not None:
        found.append("stress = −virial / volume" + (" where there is no stress" if where["stress"] is not None else ""))
    return where


def _normal(atoms: Atoms, where: Mapping[str, Location | None], name: str) -> Atoms:
    values = {label: hit[1] for label, spot in where.items() if spot is not None and (hit := look(atoms, spot.name)) is not None}
    energy = forces = stress = None
    if "energy" in values:
        energy = converted(lambda: as_energy(values["energy"]), name, "energy", values["energy"])
    if "forces" in values:
        forces = converted(lambda: as_forces(values["forces"], len(atoms)), name, "forces", values["forces"])
    if all(atoms.pbc) and "stress" in values:
        stress = converted(lambda: as_voigt(values["stress"]), name, "stress", values["stress"])
    elif all(atoms.pbc) and "virial" in values and abs(atoms.cell.volume) > 0:
        stress = converted(lambda: -as_voigt(values["virial"]) / abs(atoms.cell.volume), name, "virial", values["virial"])
    bare = attach(atoms, energy=energy, forces=forces, stress=stress)
    bare.info = {key: value for key, value in bare.info.items() if key not in _taken(where)}
    return bare


def _taken(where: Mapping[str, Location | None]) -> frozenset[str]:
    return _CONSUMED | {spot.name for spot in where.values() if spot is not None}


def _isolated(structures: list[Atoms], file: str) -> dict[str, float]:
    energies: dict[str, float] = {}
    for atoms in structures:
        if len(atoms) != 1:
            raise DataError(
                file, expected="isolated atoms", found=f"{len(atoms)} atoms in one structure", do="Keep one atom per structure."
            )
        symbol, energy = str(atoms.symbols[0]), float(atoms.calc.results.get("energy", np.nan))
        if not np.isfinite(energy) or abs(energies.get(symbol, energy) - energy) > SAME_ENERGY:
            given = f"{energies[symbol]} and {energy}" if symbol in energies else str(energy)
            raise DataError(f"{file}, isolated {symbol}", expected="one finite energy", found=given, do="Keep the right one.")
        energies[symbol] = energy
    return energies


def _free_energy_remark(raw: list[Atoms], energy: Location | None) -> list[str]:
    """With smeared occupations codes write an energy extrapolated to no smearing beside the free energy, to which the forces belong."""
    both = [atoms.calc.results for atoms in raw if atoms.calc is not None and {"energy", "free_energy"} <= set(atoms.calc.results)]
    off = max((abs(float(each["energy"]) - float(each["free_energy"])) for each in both), default=0.0)
    if energy is None or energy.name != "energy" or off < _SMEARED:
        return []
    return [f"energy and free_energy differ by up to {off:.3g} eV, and forces belong to the latter: data.keys.energy=free_energy reads it"]


def _constraint_remark(raw: list[Atoms], structures: list[Atoms]) -> list[str]:
    """A code that writes forces after applying constraints writes exact zeros: those are no labels."""
    suspects = [index for index, pair in enumerate(zip(raw, structures, strict=True)) if _zeroed(*pair)]
    if not suspects:
        return []
    return [f"forces of constrained atoms are exactly zero in {len(suspects)} structures: written without apply_constraint=False?"]


def _zeroed(raw: Atoms, labelled: Atoms) -> bool:
    forces: Any = labelled.calc.results.get("forces")
    fixed = [index for constraint in raw.constraints for index in np.atleast_1d(getattr(constraint, "index", []))]
    return forces is not None and bool(fixed) and not np.any(forces[np.asarray(fixed, dtype=int)])
