"""Pairs of atoms by cell lists: space is divided into cells about as wide as the cutoff, and only atoms of close cells are compared.

Allen & Tildesley, Computer Simulation of Liquids (2017), doi:10.1093/oso/9780198803195.001.0001, chapter 5.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from nnpx.speed.loops import Loop, Part

#: cells are wider than they have to be by this part, so that rounding does not put a neighbour one cell too far
_SLACK: Final = 1e-6
#: room for pairs, in units of what a homogeneous structure has
_ROOM: Final = 1.1
#: i, j, the image S of j in units of the cell, in whole numbers, and the distance |r_j + S·cell − r_i|, Å
Pairs = tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Float[np.ndarray, "pair 3"], Float[np.ndarray, " pair"]]

#: from what is found for a part of the atoms, and their number, what is found for parts of all of them, as `nnpx.speed.threads.in_parts`
InParts = Callable[[Callable[[Part], Pairs], int], list[Pairs]]

#: (pair,), (pair,), (pair, 3), (pair,): i, j, S, and distance
_Room = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: (atom, 3), (atom,), (atom, 3), (atom,), (atom, 3): positions within the cell, numbers, and images that they were moved by, those of one
#: cell together; then in the order of their numbers where each is, and the cell that it is in along each axis, from 0
_Atoms = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: (cell + 1,), (3,), (2, 3, step), (3, 3): where the atoms of a cell begin, how many cells away neighbours may be, `_along`, and the
#: lattice vectors
_Cells = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def in_one_part(search: Callable[[Part], Pairs], n_atoms: int) -> list[Pairs]:
    """All atoms, by who asks."""
    return [search((0, n_atoms))]


def pairs_in_cells(
    positions: Float[np.ndarray, "atom 3"],
    rows: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"],
    cutoff: float,
    *,
    each_once: bool,
    in_parts: InParts = in_one_part,
) -> Pairs:
    """All pairs closer than the cutoff, sorted by the first atom.

    Args:
        positions: Å, finite. Every cell of the space that they take costs time and memory, whether or not an atom is in it.
        rows: independent vectors, Å; those of the lattice where it is periodic, best at right angles to these where it is not.
        periodic: along which of them it is.
        cutoff: of the distances, Å.
        each_once: not from both ends.
        in_parts: who shares the search.
    """
    atoms, cells, volume = _divided(np.require(positions, float, ["C", "W"]), np.require(rows, float, ["C", "W"]), periodic, cutoff)
    in_sphere = len(positions) / volume * (4.0 / 3.0) * np.pi * cutoff**3
    others = in_sphere if periodic.any() else min(in_sphere, len(positions) - 1.0)

    def pairs_of(part: Part) -> Pairs:
        room = _room(int(_ROOM * (part[1] - part[0]) * others) + len(positions))
        n_pairs = _search(room, atoms, cells, (float(cutoff), bool(each_once)), part)
        if n_pairs > len(room[0]):
            del room
            room = _room(n_pairs)
            _search(room, atoms, cells, (float(cutoff), bool(each_once)), part)
        i, j, shift, distance = room
        return i[:n_pairs], j[:n_pairs], shift[:n_pairs], distance[:n_pairs]

    parts = in_parts(pairs_of, len(positions))
    if len(parts) == 1:
        return parts[0]
    i, j, shift, distance = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
    return i, j, shift, distance


def _divided(
    positions: Float[np.ndarray, "atom 3"], rows: Float[np.ndarray, "3 3"], periodic: Bool[np.ndarray, " 3"], cutoff: float
) -> tuple[_Atoms, _Cells, float]:
    """The atoms in their cells, and the volume that they take, Å³."""
    inverse = np.linalg.inv(rows)
    place, moved = np.empty_like(positions), np.empty_like(positions)
    _move((place, moved), positions, inverse, periodic)
    begin, extent = np.zeros(3), np.ones(3)
    if not periodic.all():
        begin, extent = np.where(periodic, 0.0, place.min(0)), np.where(periodic, 1.0, np.ptp(place, axis=0))
    reach = cutoff * (1.0 + _SLACK) * np.linalg.norm(inverse, axis=0)
    counts = np.maximum(extent / reach, 1.0).astype(np.int64)
    width = np.where(extent > 0.0, extent, 1.0) / counts
    start = np.zeros(counts.prod() + 1, np.int64)
    atoms = _sorted_atoms((positions, place, moved), (begin, width, counts, rows), start)
    steps = np.where(periodic | (counts > 1), np.ceil(reach / width), 0.0).astype(np.int64)
    cells = (start, steps, _along(counts, steps, periodic), rows)
    return atoms, cells, float(abs(np.linalg.det(rows)) * np.where(periodic, 1.0, np.maximum(extent, reach)).prod())


@partial(Loop, may_reorder=False)
def _move(result: tuple[np.ndarray, np.ndarray], positions: np.ndarray, inverse: np.ndarray, periodic: np.ndarray) -> None:
    """Where each atom is in units of the vectors, once it is moved into the cell along those that are periodic, and by how many."""
    place, moved = result
    for atom in range(len(positions)):
        x, y, z = positions[atom, 0], positions[atom, 1], positions[atom, 2]
        for axis in range(3):
            along = x * inverse[0, axis] + y * inverse[1, axis] + z * inverse[2, axis]
            moved[atom, axis] = -np.floor(along) if periodic[axis] else 0.0
            place[atom, axis] = along + moved[atom, axis]


def _sorted_atoms(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], grid: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], start: np.ndarray
) -> _Atoms:
    """The atoms by their cells, and where those of each begin, in `start`."""
    n_atoms = len(found[0])
    order, where, index = np.empty(n_atoms, np.int64), np.empty(n_atoms, np.int64), np.empty((n_atoms, 3), np.int64)
    inside, moved = np.empty((n_atoms, 3)), np.empty((n_atoms, 3))
    _sort((inside, moved), (order, where, index, start), found, grid)
    return inside, order, moved, where, index


@partial(Loop, may_reorder=False)
def _sort(
    points: tuple[np.ndarray, np.ndarray],
    numbers: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    found: tuple[np.ndarray, np.ndarray, np.ndarray],
    grid: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Counts the atoms of every cell, and puts them one cell after the other."""
    (inside, moved), (order, where, index, start) = points, numbers
    (positions, place, images), (begin, width, counts, rows) = found, grid
    for atom in range(len(positions)):
        for axis in range(3):
            along = (place[atom, axis] - begin[axis]) / width[axis]
            index[atom, axis] = min(max(int(along), 0), counts[axis] - 1)
        start[(index[atom, 0] * counts[1] + index[atom, 1]) * counts[2] + index[atom, 2] + 1] += 1
    for cell in range(1, len(start)):
        start[cell] += start[cell - 1]
    free = start.copy()
    for atom in range(len(positions)):
        cell = (index[atom, 0] * counts[1] + index[atom, 1]) * counts[2] + index[atom, 2]
        slot = free[cell]
        free[cell] += 1
        order[slot], where[atom] = atom, slot
        u, v, w = images[atom, 0], images[atom, 1], images[atom, 2]
        for axis in range(3):
            moved[slot, axis] = images[atom, axis]
            inside[slot, axis] = positions[atom, axis] + (u * rows[0, axis] + v * rows[1, axis] + w * rows[2, axis])


def _along(counts: Int[np.ndarray, " 3"], steps: Int[np.ndarray, " 3"], periodic: Bool[np.ndarray, " 3"]) -> Int[np.ndarray, "2 3 step"]:
    """Of cell k − steps along every axis, k = 0, 1, …: what it adds to the number of a cell (−1 where there is none), and its image."""
    along = np.full((2, 3, (counts + 2 * steps).max()), -1)
    for axis, (count, step) in enumerate(zip(counts.tolist(), steps.tolist(), strict=True)):
        image, cell = np.divmod(np.arange(-step, count + step), count)
        along[:, axis, : len(cell)] = np.where(periodic[axis] | (image == 0), cell * counts[axis + 1 :].prod(), -1), image
    return along


def _room(n_pairs: int) -> _Room:
    return np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64), np.empty((n_pairs, 3)), np.empty(n_pairs)


@partial(Loop, may_reorder=False)
def _search(pairs: _Room, atoms: _Atoms, cells: _Cells, asked: tuple[float, bool], part: Part) -> int:
    """How many pairs some atoms have; writes as many as there is room for.

    Seen from the other end the numbers that are added have the other sign and the same order, so that rounding finds both or none.
    """
    center, neighbor, shift, distance = pairs
    points, order, moved, where, index = atoms
    start, steps, along, rows = cells
    (cutoff, each_once), found = asked, 0
    for i in range(part[0], part[1]):
        own = where[i]
        for a in range(index[i, 0], index[i, 0] + 2 * steps[0] + 1):
            for b in range(index[i, 1], index[i, 1] + 2 * steps[1] + 1):
                for c in range(index[i, 2], index[i, 2] + 2 * steps[2] + 1):
                    if min(along[0, 0, a], along[0, 1, b], along[0, 2, c]) < 0:
                        continue
                    cell = along[0, 0, a] + along[0, 1, b] + along[0, 2, c]
                    u, v, w = along[1, 0, a], along[1, 1, b], along[1, 2, c]
                    side = u if u != 0 else v if v != 0 else w  # of two opposite images one is on the positive side
                    ahead = u * rows[0, 0] + v * rows[1, 0] + w * rows[2, 0]
                    aside = u * rows[0, 1] + v * rows[1, 1] + w * rows[2, 1]
                    above = u * rows[0, 2] + v * rows[1, 2] + w * rows[2, 2]
                    for near in range(start[cell], start[cell + 1]):
                        x = (points[near, 0] - points[own, 0]) + ahead
                        y = (points[near, 1] - points[own, 1]) + aside
                        z = (points[near, 2] - points[own, 2]) + above
                        square = x * x + y * y + z * z
                        is_forward = side > 0 or (side == 0 and near > own)
                        if square < cutoff * cutoff and (is_forward or (not each_once and (side < 0 or near < own))):
                            if found < len(center):
                                center[found], neighbor[found], distance[found] = i, order[near], np.sqrt(square)
                                shift[found, 0] = u + moved[near, 0] - moved[own, 0]
                                shift[found, 1] = v + moved[near, 1] - moved[own, 1]
                                shift[found, 2] = w + moved[near, 2] - moved[own, 2]
                            found += 1
    return found
