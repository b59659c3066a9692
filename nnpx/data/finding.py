"""Finding labels: a label is worth nothing where nobody looks for it.

ASE ≥ 3.23 moves `energy`, `forces` and `stress` of a file into calculator results; other codes write `REF_energy`, `dft_forces` or
`virial`. Here every place is searched, once for a whole file, and what was found is told.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from nnpx.errors import DataError

T = TypeVar("T")

_STEMS: Final = {"energy": ("energy",), "forces": ("forces", "force"), "stress": ("stress",), "virial": ("virial", "virials")}
_PLAIN: Final = {"energy": ("Energy", "E", "TotEnergy"), "forces": ("Forces", "Force", "F"), "stress": (), "virial": ("Virial",)}
_MARKS: Final = ("REF_", "ref_", "DFT_", "dft_")

#: names under which each label is looked for, the most explicit first
NAMES: Final = {
    label: (
        *(mark + stem for mark in _MARKS for stem in stems),
        *(f"{stem}_{mark.strip('_')}" for mark in _MARKS for stem in stems),
        *stems,
        *_PLAIN[label],
    )
    for label, stems in _STEMS.items()
}


@final
@dataclass(frozen=True)
class Location:
    """Where one label of a file lies."""

    name: str
    where: str
    count: int

    def __str__(self) -> str:
        return f"{self.where}['{self.name}']"


def look(atoms: Atoms, name: str) -> tuple[str, Any] | None:
    """A value by its name: in the calculator's results, in `info`, then in `arrays`."""
    results = atoms.calc.results if atoms.calc is not None else {}
    for where, mapping in (("results", results), ("info", atoms.info), ("arrays", atoms.arrays)):
        if mapping.get(name) is not None:
            return where, mapping[name]
    return None


def locations(structures: Sequence[Atoms], label: str) -> list[Location]:
    """Every place where this label lies in at least one structure, the most explicit name first."""
    found = (location(structures, name) for name in NAMES[label])
    return [each for each in found if each.count]


def location(structures: Sequence[Atoms], name: str) -> Location:
    """Where a name lies and in how many structures."""
    hits = [hit[0] for atoms in structures if (hit := look(atoms, name)) is not None]
    return Location(name, "/".join(sorted(set(hits))), len(hits))


def chosen(structures: Sequence[Atoms], label: str, key: str | None, file: str) -> tuple[Location | None, list[str]]:
    """The place to read a label from, and remarks on the others.

    Args:
        structures: the file.
        label: energy, forces, stress or virial.
        key: the user's own name for it, or None.
        file: the file's name, for messages.

    Raises:
        DataError: the user's key is in no structure, or the most explicit name is missing where another is there.
    """
    if key is not None:
        named = location(structures, key)
        if not named.count:
            raise _unknown_key(structures[0], label, key, file)
        return named, []
    found = locations(structures, label)
    if not found:
        return None, [
            f"{label} is not read from {each}: data.keys.{label}={each.name} would read it" for each in _unread(structures, label)
        ]
    best = found[0]
    if complete := [each for each in found if each.count > best.count]:
        raise DataError(
            f"{file}, {label}",
            expected=f"{best} in every structure that has {complete[0]}",
            found=f"it in {best.count}, and {complete[0]} in {complete[0].count}",
            do=f"Say which you mean, data.keys.{label}={best.name} or data.keys.{label}={complete[0].name}, or complete the file.",
        )
    others = [each for each in found if each is not best]
    return best, [f"{label} is also in {each}: choose it with data.keys.{label}={each.name}" for each in others]


def _unread(structures: Sequence[Atoms], label: str) -> list[Location]:
    """Places that sound like this label and are none of its own."""
    alike = (name for name in _present(structures[0]) if any(stem in name.lower() for stem in _STEMS[label]))
    return [location(structures, name) for name in alike]


def _present(atoms: Atoms) -> list[str]:
    """The names of all that comes with a structure beside its geometry."""
    results = atoms.calc.results if atoms.calc is not None else {}
    return [*results, *atoms.info, *(name for name in atoms.arrays if name not in ("numbers", "positions"))]


def as_energy(value: Any) -> float:
    """A label as one number, eV."""
    return float(np.asarray(value, dtype=np.float64).reshape(()))


def as_forces(value: Any, n_atoms: int) -> NDArray[np.float64]:
    """A label as a row per atom, eV/Å; three numbers per atom one after the other are as good, rows per direction are not."""
    given = np.asarray(value, dtype=np.float64)
    if given.shape not in ((n_atoms, 3), (3 * n_atoms,)):
        raise ValueError(given.shape)
    return given.reshape(n_atoms, 3)


def as_voigt(value: Any) -> NDArray[np.float64]:
    """Six components or a matrix as xx, yy, zz, yz, xz, xy; a matrix is made symmetric."""
    given = np.asarray(value, dtype=np.float64).ravel()
    if given.size == 6:
        return given
    matrix = given.reshape(3, 3)
    matrix = (matrix + matrix.T) / 2
    return np.array([matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[1, 2], matrix[0, 2], matrix[0, 1]])


def converted(convert: Callable[[], T], where: str, label: str, value: Any) -> T:
    """Convert a value found under a label's name.

    Raises:
        DataError: it has not the shape of that label.
    """
    try:
        return convert()
    except (ValueError, TypeError) as error:
        shape = f"shape {np.shape(value)}" if np.ndim(value) else repr(value)[:40]
        raise DataError(
            where, expected=f"numbers with the shape of {label}", found=shape, do=f"Name the right place with data.keys.{label}."
        ) from error


def _unknown_key(atoms: Atoms, label: str, key: str, file: str) -> DataError:
    present = _present(atoms)
    near = difflib.get_close_matches(key, present, n=1)
    meant = f"Did you mean {near[0]}?" if near else f"Correct data.keys.{label}."
    return DataError(f"{file}, data.keys.{label}", expected=f"'{key}' in info, arrays or results", found=str(present), do=meant)
