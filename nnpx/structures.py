"""What a structure must not be, whatever is done with it. Without torch, which takes a process that labels seconds to load."""

from typing import Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from nnpx.errors import GeometryError, SpeciesError
from nnpx.neighbor_search import shortest_lattice_vector

#: `info` key of the error bar of a structure's energy, eV
ERROR_BAR: Final = "energy_noise"
#: atoms closer than this are taken for a broken structure, Å; no two nuclei in matter come so near
TOO_CLOSE: Final = 0.3
#: ratio of the longest to the shortest axis of the image of a sphere; a cell beyond has no volume
FLAT: Final = 1e8


def refuse_no_elements(atoms: Atoms, where: str) -> None:
    """Whatever an atomic number is used for, as an index it may be that of another element.

    Raises:
        SpeciesError: an atomic number is that of no element.
    """
    last = len(chemical_symbols) - 1
    if len(strange := atoms.numbers[(atoms.numbers < 1) | (atoms.numbers > last)]):
        found = f"an atom of no element ({', '.join('X' if z == 0 else f'Z = {z}' for z in sorted(set(strange.tolist())))})"
        do = "Correct the atomic numbers, or remove the structure."
        raise SpeciesError(where, expected=f"atoms of elements, 1 (H) to {last} ({chemical_symbols[last]})", found=found, do=do)


def refuse_own_image(atoms: Atoms, minimum_distance: float, where: str, *, do: str) -> None:
    """An atom that would have its own images for neighbours, without number, before they are listed.

    Args:
        atoms: with a cell that has a volume where it is periodic.
        minimum_distance: of two atoms, Å.
        where: what to call the structure.
        do: what mends it.

    Raises:
        GeometryError: a vector of the lattice is shorter.
    """
    if (distance := shortest_lattice_vector(atoms)) < minimum_distance:
        expected, found = f"atoms at least {minimum_distance:g} Å apart", f"every atom {distance:.3g} Å from its own image in the next cell"
        raise GeometryError(where, expected=expected, found=found, do=do)


def checked_cell(
    atoms: Atoms, *, where: str, minimum_distance: float = TOO_CLOSE, do: str = "Correct the cell (Å), or set pbc to false."
) -> np.ndarray:
    """The cell (rows, Å) where the structure is periodic, completed in the other directions; zero where nothing is periodic.

    Args:
        atoms: the structure.
        where: what to call it.
        minimum_distance: of an atom from its own image, Å.
        do: what mends an atom that is closer.

    Raises:
        GeometryError: positions or cell are not finite, the cell has no volume or is left-handed, or an atom meets its own image.
    """
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        found = "no atoms" if len(atoms) == 0 else "nan or infinity"
        raise GeometryError(where, expected="finite positions and cell", found=found, do="Remove the structure.")
    if not atoms.pbc.any():
        return np.zeros((3, 3))
    rows, is_crystal = atoms.cell.array[atoms.pbc], atoms.pbc.all()
    axes = np.linalg.svd(rows, compute_uv=False)  # of the image of a sphere
    if axes[-1] <= axes[0] * 3 * np.finfo(float).eps:
        found = f"pbc {atoms.pbc.tolist()} with cell {atoms.cell.array.round(3).tolist()}, which has no volume"
        raise GeometryError(
            where, expected="independent lattice vectors where pbc is true", found=found, do="Set the cell, or pbc to false."
        )
    cell = rows if is_crystal else atoms.cell.complete().array
    axes = axes if is_crystal else np.linalg.svd(np.nan_to_num(cell), compute_uv=False)  # NaN where an open vector lies along another one
    if axes[0] > FLAT * axes[-1]:
        found = f"pbc {atoms.pbc.tolist()} with cell {atoms.cell.array.round(3).tolist()}, whose vectors lie in a plane"
        raise GeometryError(where, expected="a cell with a volume", found=found, do="Set the vectors of open directions to zero.")
    if np.linalg.det(cell) < 0:
        raise GeometryError(
            where,
            expected="a right-handed cell",
            found=f"a left-handed one (determinant {np.linalg.det(cell):.3f} Å³)",
            do="Exchange two lattice vectors; positions and energies stay the same.",
        )
    if axes[-1] < minimum_distance:  # of no lattice is a vector shorter than the shortest axis
        refuse_own_image(atoms, minimum_distance, where, do=do)
    return np.array(cell, dtype=float)
