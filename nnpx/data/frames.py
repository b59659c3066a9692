"""Structures on disk: extended XYZ with every digit, and the same as plain records.

ASE's own writer keeps eight decimals. Here a float is written as the shortest text that reads back as the same number, so that a
file is a faithful copy and equal structures give equal bytes.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import key_val_str_to_dict
from numpy.typing import NDArray

from nnpx.files import write_text

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
#: words of the format itself, and labels, which are written from the calculator
_RESERVED = frozenset({"Lattice", "Properties", "pbc", "virial", *all_properties})
#: name of initial magnetic moments in ASE's arrays and files
MOMENTS: Final = "initial_magmoms"
#: Voigt order xx, yy, zz, yz, xz, xy as a matrix
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))


def labels(atoms: Atoms) -> dict[str, Any]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt) as attached, whatever constraints the structure has."""
    results: Mapping[str, Any] = atoms.calc.results if atoms.calc is not None else {}
    return {name: results[name] for name in ("energy", "forces", "stress") if results.get(name) is not None}


def geometry(atoms: Atoms, *, info: Mapping[str, Any]) -> Atoms:
    """What a reference engine has to know of a structure, bare of labels, constraints, momenta and other arrays.

    Elements, positions (Å), cell, and initial magnetic moments (μ_B) where it has them: they decide which spin state is computed.

    Args:
        atoms: the structure.
        info: what is said of it, instead of its own.
    """
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=dict(info))
    if atoms.has(MOMENTS):
        bare.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return bare


def attach(atoms: Atoms, *, energy: float | None, forces: NDArray[np.float64] | None, stress: NDArray[np.float64] | None) -> Atoms:
    """The same geometry, carrying these labels where ASE looks for them."""
    bare = geometry(atoms, info=atoms.info)
    found = {"energy": energy, "forces": forces, "stress": stress}
    bare.calc = SinglePointCalculator(bare, **{name: value for name, value in found.items() if value is not None})
    return bare


def record(atoms: Atoms) -> dict[str, Any]:
    """A structure as plain numbers, for the journal; JSON writes floats so that they read back equal."""
    plain: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "pbc": atoms.pbc.tolist(),
        "info": scalars(atoms.info),
    }
    if atoms.has(MOMENTS):
        plain["magmoms"] = atoms.get_initial_magnetic_moments().tolist()
    for name, value in labels(atoms).items():
        plain[name] = np.asarray(value).tolist()
    return plain


def restore(plain: Mapping[str, Any]) -> Atoms:
    """The structure that `record` took apart."""
    moments = plain.get("magmoms")
    atoms = Atoms(plain["numbers"], plain["positions"], magmoms=moments, cell=plain["cell"], pbc=plain["pbc"], info=dict(plain["info"]))
    arrays = {name: np.asarray(plain[name]) if name in plain else None for name in ("forces", "stress")}
    return attach(atoms, energy=plain.get("energy"), forces=arrays["forces"], stress=arrays["stress"])


def scalars(info: Mapping[str, Any]) -> dict[str, Any]:
    """What can be kept of `atoms.info`: plain keys with a text, a number or a truth value."""
    kept: dict[str, Any] = {}
    for key in sorted(key for key in info if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) and key not in _RESERVED):
        value = info[key].item() if isinstance(info[key], np.generic) else info[key]
        if isinstance(value, str | bool | int | float):
            kept[key] = value
    return kept


def text(atoms: Atoms) -> str:
    """One frame of extended XYZ, every float in full."""
    found = labels(atoms)
    columns = {"pos": atoms.positions}
    if "forces" in found:
        columns["forces"] = np.asarray(found["forces"])
    if atoms.has(MOMENTS):
        columns[MOMENTS] = atoms.get_initial_magnetic_moments().reshape(len(atoms), -1)
    head = [":".join(["Properties=species:S:1", *(f"{name}:R:{values.shape[1]}" for name, values in columns.items())])]
    if any(atoms.pbc) or np.any(np.asarray(atoms.cell)):
        head.insert(0, f'Lattice="{_join(np.asarray(atoms.cell))}"')
    if "energy" in found:
        head.append(f"energy={float(found['energy'])!r}")
    if "stress" in found:
        voigt = np.asarray(found["stress"])
        head.append(f'stress="{_join(voigt[np.array(_VOIGT)])}"')
    head.extend(f"{key}={_quoted(value)}" for key, value in scalars(atoms.info).items())
    head.append(f'pbc="{" ".join("T" if periodic else "F" for periodic in atoms.pbc)}"')
    rows = [f"{symbol} {_join(row)}" for symbol, row in zip(atoms.symbols, np.hstack(list(columns.values())), strict=True)]
    return "\n".join([str(len(atoms)), " ".join(head), *rows]) + "\n"


def write(path: Path, structures: Iterable[Atoms]) -> None:
    """Write an extended-XYZ file in one move: a reader never sees half of it."""
    write_text(path, "".join(text(atoms) for atoms in structures))


def _join(values: NDArray[np.float64]) -> str:
    return " ".join(map(repr, np.ravel(values).astype(np.float64).tolist()))


def _quoted(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if not isinstance(value, str):
        return repr(value)
    clean = " ".join(value.replace("\\", "/").replace('"', "'").split())
    # a word such as 01, 1e3 or T would be read as a number or a truth value, and be another word afterwards
    is_word = str(key_val_str_to_dict(f'key="{clean}"')["key"]) == clean
    return f'"{clean}"' if is_word else f'"_JSON \\"{clean}\\""'
