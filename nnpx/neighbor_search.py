"""Which atoms are within a distance of each other: by vesin (doi:10.5281/zenodo.14216108), by SciPy where space is mostly empty."""

from typing import Final

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

#: vesin divides space into at most so many cells: beyond, it compares more and more pairs, or divides by zero if space is flat
_MOST_CELLS: Final = 100_000


def pairs_within(
    atoms: Atoms, cutoff: float, *, each_once: bool = False
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, "pair 3"], Float[np.ndarray, " pair"]]:
    """All pairs within the cutoff (Å), sorted by the first atom: i, j, the image S of j in units of the cell, and the distance, Å.

    Args:
        atoms: with finite positions, and a cell with a volume where it is periodic.
        cutoff: the largest distance; infinite for all pairs of an open structure.
        each_once: not from both ends; in no order.
    """
    if not atoms.pbc.any() and (len(atoms) == 0 or np.linalg.norm(np.ptp(atoms.positions, axis=0)) < cutoff):
        return _all_pairs(atoms.positions, each_once=each_once)
    if _n_cells(atoms, cutoff) > min(len(atoms), _MOST_CELLS):
        return _pairs_in_space(atoms, cutoff, each_once=each_once)
    from vesin import NeighborList  # it loads torch, which the processes that label do without

    search = NeighborList(cutoff=cutoff, full_list=not each_once, sorted=not each_once)
    cell = atoms.cell.complete().array if atoms.pbc.any() else np.zeros((3, 3))
    i, j, shift, distance = search.compute(points=atoms.positions, box=cell, periodic=atoms.pbc, quantities="ijSd")
    return i.astype(np.int64), j.astype(np.int64), shift.astype(np.int64), distance


def _all_pairs(
    positions: Float[np.ndarray, "atom 3"], *, each_once: bool
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, "pair 3"], Float[np.ndarray, " pair"]]:
    """Those of atoms in a box whose diagonal is within the cutoff: there is nothing to search."""
    every = np.ones((len(positions), len(positions)), dtype=bool)
    i, j = np.nonzero(np.triu(every, 1) if each_once else every ^ np.eye(len(positions), dtype=bool))
    return i, j, np.zeros((len(i), 3), dtype=np.int64), np.linalg.norm(positions[j] - positions[i], axis=1)


def _n_cells(atoms: Atoms, cutoff: float) -> float:
    """Into how many cells, none narrower than the cutoff, the space around all atoms can be divided."""
    rows = atoms.cell.array[atoms.pbc]
    open_directions = np.linalg.svd(rows)[2][len(rows) :]
    widths = [1.0 / np.linalg.norm(np.linalg.pinv(rows), axis=0), np.ptp(atoms.positions @ open_directions.T, axis=0)]
    return float(np.maximum(np.concatenate(widths) / cutoff, 1.0).prod())


def _pairs_in_space(
    atoms: Atoms, cutoff: float, *, each_once: bool
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, "pair 3"], Float[np.ndarray, " pair"]]:
    """Those between the atoms, moved into the cell, and the images around it, in trees that do not ask how large or how empty space is."""
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
    pairs = pairs[np.argsort(pairs["i"], kind="stable")]
    i, j = pairs["i"], atom[pairs["j"]]
    shift = np.zeros((len(i), 3), dtype=np.int64)
    shift[:, atoms.pbc] = image[pairs["j"]] + moved[j] - moved[i]
    to_image = np.sign(shift) @ (4, 2, 1)  # of two opposite images of an atom itself, one is positive
    kept = (i < j) | ((i == j) & (to_image > 0)) if each_once else (i != j) | (to_image != 0)
    return i[kept], j[kept], shift[kept], pairs["v"][kept]
