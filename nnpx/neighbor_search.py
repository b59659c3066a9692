"""Which atoms are within a distance of each other: periodic neighbour lists by vesin (doi:10.5281/zenodo.14216108)."""

import math

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int


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
    from vesin import NeighborList  # it loads torch, which the processes that label do without

    positions, cell = atoms.positions, atoms.cell.complete().array if atoms.pbc.any() else np.zeros((3, 3))
    search = NeighborList(cutoff=cutoff, full_list=not each_once, sorted=not each_once)
    points = _moved_together(positions, cell[atoms.pbc], cutoff)
    i, j, shift, distance = search.compute(points=points, box=cell, periodic=atoms.pbc, quantities="ijSd")
    return i.astype(np.int64), j.astype(np.int64), shift.astype(np.int64), distance


def _all_pairs(
    positions: Float[np.ndarray, "atom 3"], *, each_once: bool
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, "pair 3"], Float[np.ndarray, " pair"]]:
    """Those of atoms in a box whose diagonal is within the cutoff: there is nothing to search."""
    every = np.ones((len(positions), len(positions)), dtype=bool)
    i, j = np.nonzero(np.triu(every, 1) if each_once else every ^ np.eye(len(positions), dtype=bool))
    return i, j, np.zeros((len(i), 3), dtype=np.int64), np.linalg.norm(positions[j] - positions[i], axis=1)


def _moved_together(
    positions: Float[np.ndarray, "atom 3"], periodic_rows: Float[np.ndarray, "periodic 3"], cutoff: float
) -> Float[np.ndarray, "atom 3"]:
    """The positions, but parts of the structure that gaps keep apart moved together on a grid, with the same neighbours.

    The search divides a box around all atoms into cells: with a fragment far away it may take all memory, not end, or divide by zero.
    Parts are told in the directions that are not periodic, and only where there are fewer atoms than cells.
    """
    directions = np.linalg.svd(periodic_rows)[2][len(periodic_rows) :].T if len(periodic_rows) else np.eye(3)
    along = positions @ directions
    if np.maximum(np.ptp(along, axis=0) / cutoff, 1.0).prod() <= len(positions):
        return positions
    order = along.argsort(axis=0)
    gaps = np.diff(np.take_along_axis(along, order, axis=0), axis=0) > cutoff
    interval = np.zeros_like(order)  # of each atom in each direction, which together tell its part
    np.put_along_axis(interval, order[1:], gaps.cumsum(axis=0), axis=0)
    parts, part = np.unique(interval, axis=0, return_inverse=True)
    lowest, highest = np.full(parts.shape, np.inf), np.full(parts.shape, -np.inf)
    np.minimum.at(lowest, part, along)
    np.maximum.at(highest, part, along)
    side = math.ceil(len(parts) ** (1.0 / along.shape[1]))
    grid = np.stack(np.unravel_index(np.arange(len(parts)), (side,) * along.shape[1]), axis=1)
    pitch = (highest - lowest).max(axis=0) + 2.0 * cutoff
    moved: np.ndarray = positions + (grid * pitch - lowest)[part] @ directions.T
    return moved
