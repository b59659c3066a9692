"""What a structure must not be, whatever is done with it. Without torch, which takes a process that labels seconds to load."""

from typing import Final

from ase import Atoms
from ase.data import chemical_symbols

from nnpx.errors import GeometryError, SpeciesError
from nnpx.neighbor_search import shortest_lattice_vector

#: `info` key of the error bar of a structure's energy, eV
ERROR_BAR: Final = "energy_noise"


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
