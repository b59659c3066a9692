"""What is refused before anything is learned: labels that are not there or not finite, geometries that no physics allows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from nnpx.data.frames import labels
from nnpx.errors import DataError, GeometryError
from nnpx.neighbor_search import pairs_within
from nnpx.structures import checked_cell, refuse_no_elements

#: Å, 1; within this range pulls are summed, and below this sum they cancel, in files of four decimals too
_PULL_RANGE, _BALANCED = 6.0, 1e-3


def check_labels(structures: Sequence[Atoms], file: str, *, allow_missing: bool, frames: Sequence[int] | None = None) -> None:
    """Every structure has the same labels, and they are finite.

    Args:
        structures: as read.
        file: its name, for messages.
        allow_missing: whether a structure may lack a label that others have; NaN then counts as missing.
        frames: which frames of the file they are, from 0; None for all in their order.

    Raises:
        DataError: a label is missing in some structures, not finite, or all forces are exactly zero.
    """
    found, number = [labels(atoms) for atoms in structures], frames or range(len(structures))
    lacking: dict[str, str] = {}
    for name in ("energy", "forces", "stress"):
        concerned = [index for index, atoms in enumerate(structures) if name != "stress" or all(atoms.pbc)]
        for index in concerned:
            _check_finite(found[index].get(name), name, f"structure {number[index]} of {file}", nan_allowed=allow_missing)
        without = [number[index] for index in concerned if name not in found[index]]
        if without and len(without) < len(concerned) and not allow_missing:
            lacking[name] = f"none in {len(without)} of {len(concerned)}: {_listed(without)}"
    if lacking:
        raise DataError(
            file,
            expected=f"{', '.join(lacking)} in all structures or in none",
            found="; ".join(lacking.values() if len(lacking) == 1 else (f"{name}: {said}" for name, said in lacking.items())),
            do="Label or remove them (they count from 0), or set data.allow_missing=true: the loss then skips what is missing.",
        )
    moved = [atoms for atoms, each in zip(structures, found, strict=True) if "forces" in each and len(atoms) > 1]
    if moved and not any(np.any(labels(atoms)["forces"]) for atoms in moved) and not all(map(_is_balanced, moved)):
        raise DataError(
            file,
            expected="forces that are not all zero",
            found=f"exact zeros in all {len(moved)} structures, which are not symmetric enough for that",
            do="Read the forces of the engine itself, without constraints, or leave them out.",
        )


def check_geometry(structures: Sequence[Atoms], file: str, *, minimum_distance: float, frames: Sequence[int] | None = None) -> None:
    """Cells with a right-handed volume where they are periodic, finite positions, no two atoms closer than `minimum_distance` (Å).

    The other arguments are those of `check_labels`.

    Raises:
        GeometryError: otherwise.
        SpeciesError: an atom is of no element.
    """
    do = "Remove the structure, or check that positions are in Å; data.minimum_distance sets the limit."
    for index, atoms in zip(frames or range(len(structures)), structures, strict=True):
        check_structure(atoms, f"structure {index} of {file}", minimum_distance=minimum_distance, do=do)


def check_structure(atoms: Atoms, where: str, *, minimum_distance: float, do: str) -> None:
    """The same of one structure.

    Args:
        atoms: the structure.
        where: what to call it.
        minimum_distance: of two atoms, Å.
        do: what mends atoms that are closer.

    Raises:
        GeometryError: as `check_geometry`.
        SpeciesError: likewise.
    """
    if len(atoms) == 0:
        raise GeometryError(where, expected="atoms of elements", found="none", do="Remove the structure.")
    refuse_no_elements(atoms, where)
    checked_cell(atoms, where=where, minimum_distance=minimum_distance, do=do)
    first, second, _, distance = pairs_within(atoms, minimum_distance, each_once=True)
    if len(distance):
        closest = int(np.argmin(distance))
        i, j = int(first[closest]), int(second[closest])
        found = f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j} at {distance[closest]:.4f} Å"
        raise GeometryError(where, expected=f"atoms at least {minimum_distance:g} Å apart", found=found, do=do)


def check_elements(parts: dict[str, list[Atoms]]) -> None:
    """Whatever is validated or tested was seen in training, and whatever is trained is validated.

    Raises:
        DataError: an element is missing on one side.
    """
    elements = {name: {str(symbol) for atoms in part for symbol in set(atoms.symbols)} for name, part in parts.items()}
    for part, other in (("valid", "train"), ("test", "train"), ("train", "valid")):
        lacking = sorted(elements[part] - elements[other])
        if lacking:
            raise DataError(
                f"split into train, valid and test: {other}",
                expected=f"the elements of {part} ({', '.join(sorted(elements[part]))})",
                found=f"no structure with {', '.join(lacking)}",
                do=f"Enlarge {other} (data.split), change seed, or remove the structures with {', '.join(lacking)}.",
            )


def check_energies(parts: dict[str, list[Atoms]]) -> None:
    """Every part can be judged by an energy, also where structures may lack it.

    Raises:
        DataError: no structure of a part has one.
    """
    for name, part in parts.items():
        if part and not any(np.isfinite(labels(atoms).get("energy", np.nan)) for atoms in part):
            raise DataError(
                f"split into train, valid and test: {name}",
                expected="at least one structure with an energy",
                found=f"none among {len(part)}",
                do=f"Enlarge {name} (data.split), change seed, or give it a file of its own (data.path_valid, data.path_test).",
            )


def _is_balanced(atoms: Atoms) -> bool:
    """Whether the neighbours of every atom lie around it so that their pulls cancel, as in a perfect crystal, where forces are zero."""
    first, second, shift, distance = pairs_within(atoms, _PULL_RANGE)
    vector = atoms.positions[second] + shift @ atoms.cell.array - atoms.positions[first]
    strength = (1.0 + 0.01 * atoms.numbers[second]) * (1.0 - distance / _PULL_RANGE) ** 2 / distance  # elements pull differently
    pull = np.zeros((len(atoms), 3))
    np.add.at(pull, first, strength[:, None] * vector)
    return bool(np.abs(pull).max() < _BALANCED)


def _check_finite(value: Any, name: str, where: str, *, nan_allowed: bool) -> None:
    if value is None or np.all(np.isfinite(value)):
        return
    if nan_allowed and not np.any(np.isinf(value)):
        return
    bad = "infinity" if np.any(np.isinf(value)) else "nan"
    raise DataError(where, expected=f"a finite {name}", found=bad, do="Remove the structure or label it again.")


def _listed(indexes: list[int]) -> str:
    shown = ", ".join(map(str, indexes[:10]))
    return f"structures {shown}{', …' if len(indexes) > 10 else ''}"
