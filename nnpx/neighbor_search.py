"""Which atoms are within a distance of each other: by cell lists, by trees (SciPy) where space is mostly empty."""

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.geometry import minkowski_reduce
from jaxtyping import Float
from scipy.spatial import cKDTree

from nnpx.cell_lists import InParts, Pairs, in_one_part, pairs_in_cells
from nnpx.errors import GeometryError


def pairs_within(atoms: Atoms, cutoff: float, *, each_once: bool = False, in_parts: InParts = in_one_part) -> Pairs:
    """All pairs closer than the cutoff (Å), sorted by the first atom.

    Args:
        atoms: with a cell that has a volume where it is periodic.
        cutoff: of the distances; infinite for all pairs of an open structure.
        each_once: not from both ends; in no order.
        in_parts: who shares the search of many atoms.

    Raises:
        GeometryError: positions or cell are not finite.
    """
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise GeometryError("the structure", expected="finite positions and cell", found="NaN or infinity", do="Remove the structure.")
    if len(atoms) == 0 or cutoff <= 0.0:
        return _all_pairs(np.zeros((0, 3)), each_once=each_once)
    if not atoms.pbc.any() and np.linalg.norm(np.ptp(atoms.positions, axis=0)) < cutoff:
        return _all_pairs(atoms.positions, each_once=each_once)
    if _n_cells(atoms, cutoff) > len(atoms):
        return _pairs_in_space(atoms, cutoff, each_once=each_once)
    rows = atoms.cell.array
    if not atoms.pbc.all():
        rows = Cell(rows * atoms.pbc[:, None]).complete().array  # vectors of open directions say nothing, and may be slanted
    return pairs_in_cells(atoms.positions, rows, atoms.pbc, cutoff, each_once=each_once, in_parts=in_parts)


def shortest_lattice_vector(atoms: Atoms) -> float:
    """Distance of an atom from its nearest image, Å; infinite without a cell, whose vectors are independent where there is one."""
    reduced = minkowski_reduce(atoms.cell, atoms.pbc)[0]
    return float(np.linalg.norm(reduced[atoms.pbc], axis=1).min(initial=np.inf))


def _all_pairs(positions: Float[np.ndarray, "atom 3"], *, each_once: bool) -> Pairs:
    """Those of atoms in a box whose diagonal is within the cutoff: there is nothing to search."""
    every = np.ones((len(positions), len(positions)), dtype=bool)
    i, j = np.nonzero(np.triu(every, 1) if each_once else every ^ np.eye(len(positions), dtype=bool))
    return i, j, np.zeros((len(i), 3)), np.linalg.norm(positions[j] - positions[i], axis=1)


def _n_cells(atoms: Atoms, cutoff: float) -> float:
    """How many cells as wide as the cutoff the space around all atoms has; around a wire at most, as two of its axes are a choice."""
    rows = atoms.cell.array[atoms.pbc]
    with np.errstate(divide="ignore"):  # a vector that was forgotten is infinite
        counts = 1.0 / (cutoff * np.linalg.norm(np.linalg.pinv(rows), axis=0))
    if len(rows) < 3:
        spans = np.ptp(atoms.positions @ np.linalg.svd(rows)[2][len(rows) :].T, axis=0)
        if len(spans) == 2:
            spans[:] = np.linalg.norm(spans)
        counts = np.concatenate([counts, spans / cutoff])
    return float(np.maximum(counts, 1.0).prod())


def _pairs_in_space(atoms: Atoms, cutoff: float, *, each_once: bool) -> Pairs:
    """Those between the atoms, moved into the cell, and the images around it, in trees that do not ask how large or how empty space is.

    Images are counted from where the atoms were. Pairs are taken from one end and turned around, so that rounding finds both or none.
    """
    rows = atoms.cell.array[atoms.pbc]
    inverse = np.linalg.pinv(rows)
    place = atoms.positions @ inverse
    moved = -np.floor(place)
    inside = atoms.positions + moved @ rows
    atom, image = np.arange(len(atoms)), np.zeros((len(atoms), 0))
    for along, reach in zip((place + moved).T, cutoff * np.linalg.norm(inverse, axis=0), strict=True):
        steps = np.arange(-np.ceil(reach), np.ceil(reach) + 1.0)
        near, step = np.nonzero(np.abs(along[atom, None] + steps - 0.5) <= 0.5 + reach)
        atom, image = atom[near], np.column_stack([image[near], steps[step]])
    pairs = cKDTree(inside).sparse_distance_matrix(cKDTree(inside[atom] + image @ rows), cutoff, output_type="ndarray")
    i, j, distance = pairs["i"], atom[pairs["j"]], pairs["v"]
    shift = np.zeros((len(i), 3))
    shift[:, atoms.pbc] = image[pairs["j"]] + moved[j] - moved[i]
    is_forward = np.sign(shift) @ (4, 2, 1) > 0  # of two opposite images of an atom itself, one is
    once = (distance < cutoff) & ((i < j) | ((i == j) & is_forward))
    i, j, shift, distance = i[once], j[once], shift[once], distance[once]
    if each_once:
        return i, j, shift, distance
    order = np.argsort(np.concatenate([i, j]), kind="stable")
    both = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([shift, -shift]), np.concatenate([distance, distance])
    i, j, shift, distance = (part[order] for part in both)
    return i, j, shift, distance
