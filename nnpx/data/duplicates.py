"""Structures that occur twice: left unseen, they let a potential be tested on what it was trained on.

Exact duplicates share every number. Near duplicates are the same up to rotation, translation and the order of atoms: their sorted
neighbour densities

    ρ_i(a) = Σ_j exp(−(r_ij / a)²),   a = 1.5 and 3 Å,   r_ij < 6 Å

agree, for every atom: in a large cell in which one atom has moved, most do. When an atom moves by δ, the densities of its neighbours change
by a tenth to a third of δ/Å.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nnpx.neighbor_search import pairs_within

_WIDTHS: Final = (1.5, 3.0)  # Å
_RANGE: Final = 6.0  # Å


@final
@dataclass(frozen=True)
class Duplicates:
    """Indexes of structures that are the same, in groups of at least two.

    Args:
        exact: equal positions, elements, cell and periodicity.
        near: equal or near.
    """

    exact: list[list[int]]
    near: list[list[int]]


def identity(atoms: Atoms) -> str:
    """A hash of positions, elements, cell and periodicity."""
    content = (atoms.numbers.astype(np.int64), atoms.positions + 0.0, np.asarray(atoms.cell) + 0.0, atoms.pbc)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in content)).hexdigest()


def find_duplicates(structures: Sequence[Atoms], *, tolerance: float) -> Duplicates:
    """Exact and near duplicates.

    Args:
        structures: all of them, whatever part they will belong to.
        tolerance: largest difference of the sorted densities up to which structures count as the same.
    """
    same: dict[str, list[int]] = defaultdict(list)
    for index, atoms in enumerate(structures):
        same[identity(atoms)].append(index)
    exact = [indexes for indexes in same.values() if len(indexes) > 1]
    buckets: dict[tuple[str, tuple[bool, ...]], list[int]] = defaultdict(list)
    for index, atoms in enumerate(structures):
        buckets[atoms.get_chemical_formula(), tuple(bool(periodic) for periodic in atoms.pbc)].append(index)
    links = [(group[0], other) for group in exact for other in group[1:]]
    for indexes in buckets.values():
        links.extend(_near(structures, indexes, tolerance))
    return Duplicates(exact, _groups(links, len(structures)))


def fingerprint(atoms: Atoms) -> NDArray[np.float64]:
    """Neighbour densities of all atoms, sorted within each element."""
    first, second, _, distance = pairs_within(atoms, _RANGE, each_once=True)
    columns = []
    for width in _WIDTHS:
        each = np.exp(-((distance / width) ** 2))
        density = np.bincount(first, each, len(atoms)) + np.bincount(second, each, len(atoms))
        columns.append(density[np.lexsort((density, atoms.numbers))])
    return np.concatenate(columns)


def _near(structures: Sequence[Atoms], indexes: list[int], tolerance: float) -> list[tuple[int, int]]:
    """Pairs of one formula. The mean differs by no more than the largest difference, so only neighbours in its order are compared."""
    if len(indexes) < 2 or tolerance <= 0:
        return []
    prints = np.array([fingerprint(structures[index]) for index in indexes])
    means = prints.mean(axis=1)
    order = np.argsort(means, kind="stable")
    prints, means, sorted_indexes = prints[order], means[order], np.asarray(indexes)[order]
    ends = np.searchsorted(means, means + tolerance, side="right")
    links: list[tuple[int, int]] = []
    for position, end in enumerate(ends.tolist()):
        if end > position + 1:
            difference = np.abs(prints[position + 1 : end] - prints[position]).max(axis=1)
            hits = sorted_indexes[position + 1 : end][difference <= tolerance].tolist()
            links.extend((int(sorted_indexes[position]), int(other)) for other in hits)
    return links


def _groups(links: list[tuple[int, int]], n_structures: int) -> list[list[int]]:
    if not links:
        return []
    left, right = np.array(links).T
    graph = coo_array((np.ones(len(links)), (left, right)), shape=(n_structures, n_structures))
    _, owner = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in sorted({*left.tolist(), *right.tolist()}):
        groups[int(owner[index])].append(index)
    return sorted(groups.values())
