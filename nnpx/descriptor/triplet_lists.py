"""Triplets of some atoms, listed and measured a block at a time: parts of the loops of `nnpx.descriptor.triplet_loops`.

Triplets are listed atom by atom, sorted by the kinds of their two neighbours, and worked on in blocks, which go on from one atom to the
next, as molecules have few. What two neighbours add is a product of functions of r_ij, r_ik, a third argument and the cosine. All are read
from tables, eight functions at once; what is known of a block stays in the nearest cache.
"""

from typing import Final

import numpy as np

from nnpx.descriptor.table_loops import find, read
from nnpx.speed.eights import EIGHT, load, store
from nnpx.speed.loops import Part, part_of_loop

#: triplets of a block: many, as every step has its beginning, and so few that what is known of them stays in a near cache
TRIPLETS: Final = 64
#: neighbours that are remembered until there are enough triplets for a block, beside those of one atom
_NEIGHBORS: Final = 256
#: what the third argument is: r_ij + r_ik or r_jk
SUM_OF_SIDES: Final = 0
THIRD_SIDE: Final = 1

#: (edge, 3), (edge,), (edge,), (edge,), (atom + 1,): vector, distance, weight, kind, and where the pairs of each atom begin
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: tables (piece, 6, function) of a side, of the third argument and of the cosine, each with where it reaches; what the third argument is;
#: and of every two kinds the place of their sum, or −1 (kind, kind)
Basis = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: of neighbours: their pair, their kind, (vector, 1/r, weight), functions of the side and their slopes (neighbour, left)
Neighbors = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: places of both neighbours (triplet, 2), r_jk² (triplet,), and (first triplet, atom, place of the sum) of every run of one sum
Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]
#: of a block: (cosine, 1/(r_ij r_ik), 1/r_jk) (triplet, 3), left factors and their slopes in the two sides and in the third argument
#: (triplet, 4, left), right factors and their slopes in the cosine (triplet, 2, right)
Block = tuple[np.ndarray, np.ndarray, np.ndarray]


@part_of_loop
def rooms(like: np.ndarray, pairs: Pairs, basis: Basis) -> tuple[Neighbors, Triplets, Block]:
    """Room for the neighbours of some atoms, for their triplets, and for what is known of a block."""
    distance, start, radius = pairs[1], pairs[4], basis[1][2]
    most = 0
    for atom in range(len(start) - 1):
        most = max(most, np.sum(distance[start[atom] : start[atom + 1]] < radius))
    n_near, n_triplets = _NEIGHBORS + most, TRIPLETS + most * (most - 1) // 2 + 1
    n_left, n_right = basis[0].shape[2], basis[4].shape[2]
    near = (
        np.empty(n_near, np.int64),
        np.empty(n_near, np.int64),
        np.empty((n_near, 5), like.dtype),
        np.empty((n_near, n_left), like.dtype),
        np.empty((n_near, n_left), like.dtype),
    )
    triplets = (np.empty((n_triplets, 2), np.int64), np.empty(n_triplets, like.dtype), np.empty((n_triplets + 1, 3), np.int64))
    block = (
        np.empty((TRIPLETS, 3), like.dtype),
        np.empty((TRIPLETS, 4, n_left), like.dtype),
        np.empty((TRIPLETS, 2, n_right), like.dtype),
    )
    return near, triplets, block


@part_of_loop
def list_triplets(atoms: Part, pairs: Pairs, basis: Basis, near: Neighbors, triplets: Triplets) -> tuple[int, int]:
    """The triplets of the atoms that follow, as many as fill a block: which atom comes next, and how many triplets there are."""
    kinds, places, runs = near[1], basis[7], triplets[2]
    atom, n_near, n_triplets, n_runs = atoms[0], 0, 0, 0
    while atom < atoms[1] and n_triplets < TRIPLETS and n_near < _NEIGHBORS:
        begin = first = n_near
        n_near = _meet(atom, n_near, pairs, basis, near)
        own = kinds[begin:n_near]
        while first < n_near:
            end, other = begin + np.searchsorted(own, kinds[first], side="right"), first
            while other < n_near:
                other_end = begin + np.searchsorted(own, kinds[other], side="right")
                place = places[kinds[first], kinds[other]]
                if place >= 0:
                    runs[n_runs, 0], runs[n_runs, 1], runs[n_runs, 2], before = n_triplets, atom, place, n_triplets
                    n_triplets = _join((first, end), (other, other_end), near, basis, (triplets, n_triplets))
                    n_runs += n_triplets > before
                other = other_end
            first = end
        atom += 1
    runs[n_runs, 0] = n_triplets
    return atom, n_triplets


@part_of_loop
def _join(some: Part, others: Part, near: Neighbors, basis: Basis, known: tuple[Triplets, int]) -> int:
    """The triplets of neighbours of two kinds, or of one, behind those that are known: how many there are now."""
    lines, (places, squares, _), n = near[2], known[0], known[1]
    furthest = basis[1][2] * basis[1][2] if basis[6][0] == THIRD_SIDE else np.inf
    for j in range(some[0], some[1]):
        x, y, z = lines[j, 0], lines[j, 1], lines[j, 2]
        for k in range(max(j + 1, others[0]), others[1]):
            a, b, c = lines[k, 0] - x, lines[k, 1] - y, lines[k, 2] - z
            square = a * a + b * b + c * c
            places[n, 0], places[n, 1], squares[n] = j, k, square
            n += square < furthest
    return n


@part_of_loop
def _meet(atom: int, n_near: int, pairs: Pairs, basis: Basis, near: Neighbors) -> int:
    """The neighbours of an atom within the radius, by kind, behind those that are there: how many there are now."""
    vector, distance, weight, kind, start = pairs
    (which, kinds, lines, values, slopes), table, reach = near, basis[0], basis[1]
    for own in range(len(basis[7])):
        for pair in range(start[atom], start[atom + 1]):
            if kind[pair] != own or weight[pair] == 0.0 or not distance[pair] < reach[2]:
                continue
            which[n_near], kinds[n_near], lines[n_near, 3], lines[n_near, 4] = pair, own, 1.0 / distance[pair], weight[pair]
            for axis in range(3):
                lines[n_near, axis] = vector[pair, axis]
            place, t = find(table, reach, distance[pair])
            for first in range(0, values.shape[1], EIGHT):
                value, slope = read(table, place + first, t)
                store(values, n_near * values.shape[1] + first, value)
                store(slopes, n_near * values.shape[1] + first, slope * reach[0])
            n_near += 1
    return n_near


@part_of_loop
def fill(span: Part, near: Neighbors, triplets: Triplets, basis: Basis, block: Block) -> None:
    """Cosines, and both factors with their slopes, of a block of triplets."""
    (_, _, lines, values, slopes), (places, squares, _), (corner, left, right) = near, triplets, block
    has_third_side, n, m = basis[6][0] == THIRD_SIDE, left.shape[2], right.shape[2]
    for row in range(span[1] - span[0]):
        j, k = places[span[0] + row, 0], places[span[0] + row, 1]
        area, weight = lines[j, 3] * lines[k, 3], lines[j, 4] * lines[k, 4]
        scalar = lines[j, 0] * lines[k, 0] + lines[j, 1] * lines[k, 1] + lines[j, 2] * lines[k, 2]
        third = np.sqrt(squares[span[0] + row]) if has_third_side else (lines[j, 3] + lines[k, 3]) / area
        corner[row, 0], corner[row, 1], corner[row, 2] = scalar * area, area, 1.0 / third if has_third_side else 0.0
        place, t = find(basis[4], basis[5], scalar * area)
        for first in range(0, m, EIGHT):
            value, slope = read(basis[4], place + first, t)
            store(right, 2 * row * m + first, value)
            store(right, 2 * row * m + m + first, slope * basis[5][0])
        place, t = find(basis[2], basis[3], third)
        for first in range(0, n, EIGHT):
            value, slope = read(basis[2], place + first, t)
            value, slope = value * weight, slope * (weight * basis[3][0])
            one, other = load(values, j * n + first), load(values, k * n + first)
            of_j, of_k = load(slopes, j * n + first) * other * value, load(slopes, k * n + first) * one * value
            both = one * other
            of_third = both * slope
            if not has_third_side:
                of_j, of_k = of_j + of_third, of_k + of_third
            store(left, 4 * row * n + first, both * value)
            store(left, (4 * row + 1) * n + first, of_j)
            store(left, (4 * row + 2) * n + first, of_k)
            store(left, (4 * row + 3) * n + first, of_third)


@part_of_loop
def run_at(triplet: int, runs: np.ndarray) -> int:
    """The run to which a triplet belongs."""
    run = 0
    while runs[run + 1, 0] <= triplet:
        run += 1
    return run
