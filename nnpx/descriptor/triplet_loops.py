"""The loops of `nnpx.descriptor.triplet_sums`: over the pairs of neighbours that atoms see, some dozens of them at a time.

Each lists triplets and measures them in blocks (`nnpx.descriptor.triplet_lists`), of which it makes its own sum.
"""

import numpy as np

from nnpx.descriptor.triplet_lists import TRIPLETS, Basis, Block, Neighbors, Pairs, Triplets, fill, list_triplets, rooms, run_at
from nnpx.speed.eights import EIGHT, eight, load, store, total
from nnpx.speed.loops import Loop, Part, part_of_loop


@Loop
def expand(sums: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """Σ left ⊗ right of some atoms into sums (atom, pair of kinds, left, right) of all."""
    near, triplets, block = rooms(sums, pairs, basis)
    sums[part[0] : part[1]] = 0.0
    atom = part[0]
    while atom < part[1]:
        atom, n_triplets = list_triplets((atom, part[1]), pairs, basis, near, triplets)
        for begin in range(0, n_triplets, TRIPLETS):
            span = (begin, min(begin + TRIPLETS, n_triplets))
            fill(span, near, triplets, basis, block)
            _add((block[1], block[2]), span, triplets[2], sums)


@Loop
def pull_back(pulls: np.ndarray, gradient: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """Σ (∂V/∂S_i) (∂S_i/∂r_ij) of some atoms into pulls (energy, edge, 3), from ∂V/∂S (energy, atom, pair of kinds, left, right)."""
    near, triplets, block = rooms(pulls, pairs, basis)
    back = np.empty((TRIPLETS, 4), pulls.dtype)
    pulls[:, pairs[4][part[0]] : pairs[4][part[1]]] = 0.0
    atom = part[0]
    while atom < part[1]:
        atom, n_triplets = list_triplets((atom, part[1]), pairs, basis, near, triplets)
        for begin in range(0, n_triplets, TRIPLETS):
            span = (begin, min(begin + TRIPLETS, n_triplets))
            fill(span, near, triplets, basis, block)
            for energy in range(len(pulls)):
                _tug(block, span, triplets[2], gradient[energy], back)
                _give(back, span, (near, triplets), block, pulls[energy])


@Loop
def change(changes: np.ndarray, displacement: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """Σ (∂S_i/∂r_ij) · d_ij of some atoms into changes (energy, atom, pair of kinds, left, right) of all, from d (energy, edge, 3)."""
    near, triplets, block = rooms(changes, pairs, basis)
    left, right = np.empty_like(block[1][:, :1]), np.empty_like(block[2][:, :1])
    changes[:, part[0] : part[1]] = 0.0
    atom = part[0]
    while atom < part[1]:
        atom, n_triplets = list_triplets((atom, part[1]), pairs, basis, near, triplets)
        for begin in range(0, n_triplets, TRIPLETS):
            span = (begin, min(begin + TRIPLETS, n_triplets))
            fill(span, near, triplets, basis, block)
            for energy in range(len(changes)):
                _move(displacement[energy], span, (near, triplets), block, (left, right))
                _add((left, block[2]), span, triplets[2], changes[energy])
                _add((block[1], right), span, triplets[2], changes[energy])


@Loop
def differentiate(jacobian: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """∂S_i/∂r_ij of the pairs of some atoms into a jacobian (edge, 3, pair of kinds, left, right) of all, right filled up to eights."""
    near, triplets, block = rooms(jacobian, pairs, basis)
    jacobian[pairs[4][part[0]] : pairs[4][part[1]]] = 0.0
    atom = part[0]
    while atom < part[1]:
        atom, n_triplets = list_triplets((atom, part[1]), pairs, basis, near, triplets)
        for begin in range(0, n_triplets, TRIPLETS):
            span = (begin, min(begin + TRIPLETS, n_triplets))
            fill(span, near, triplets, basis, block)
            _spread(span, (near, triplets), block, jacobian)


@part_of_loop
def _spread(span: Part, listed: tuple[Neighbors, Triplets], block: Block, jacobian: np.ndarray) -> None:
    """The derivatives of left ⊗ right of every triplet of a block in the vectors of both its pairs."""
    ((which, _, lines, _, _), (places, _, runs)), (corner, left, right) = listed, block
    _, _, n_sums, n_left, m = jacobian.shape
    run = run_at(span[0], runs)
    for row in range(span[1] - span[0]):
        run += span[0] + row >= runs[run + 1, 0]
        for side in range(2):
            own, other = places[span[0] + row, side], places[span[0] + row, 1 - side]
            for axis in range(3):
                along = lines[own, axis] * lines[own, 3]
                third = (lines[own, axis] - lines[other, axis]) * corner[row, 2]
                turn = lines[other, axis] * corner[row, 1] - corner[row, 0] * lines[own, 3] * along
                place = ((which[own] * 3 + axis) * n_sums + runs[run, 2]) * n_left * m
                for a in range(n_left):
                    by_right = left[row, 1 + side, a] * along + left[row, 3, a] * third
                    by_turn = left[row, 0, a] * turn
                    for first in range(a * m, a * m + m, EIGHT):
                        here = 2 * row * m + first - a * m
                        change = load(right, here) * by_right + load(right, here + m) * by_turn
                        store(jacobian, place + first, load(jacobian, place + first) + change)


@part_of_loop
def _add(factors: tuple[np.ndarray, np.ndarray], span: Part, runs: np.ndarray, sums: np.ndarray) -> None:
    """Σ left ⊗ right over the triplets of every sum that a block has; slopes may lie beside the factors."""
    left, right = factors
    n_left, n_right, m, step = sums.shape[2], sums.shape[3], right.shape[2], right.shape[1] * right.shape[2]
    own = np.empty((n_left, m), sums.dtype)
    run, begin = run_at(span[0], runs), span[0]
    while begin < span[1]:
        end, to = min(span[1], runs[run + 1, 0]), sums[runs[run, 1], runs[run, 2]]
        own[:] = 0.0
        for row in range(begin - span[0], end - span[0]):
            for first in range(0, m, EIGHT):
                factor = load(right, row * step + first)
                for a in range(n_left):
                    store(own, a * m + first, load(own, a * m + first) + factor * left[row, 0, a])
        to += own[:, :n_right]
        begin, run = end, run + 1


@part_of_loop
def _tug(block: Block, span: Part, runs: np.ndarray, gradient: np.ndarray, back: np.ndarray) -> None:
    """What pulls at both sides, at the third argument and at the cosine of every triplet of a block."""
    _, left, right = block
    n_left, n_right, n, m = gradient.shape[2], gradient.shape[3], left.shape[2], right.shape[2]
    slopes, turned = np.zeros((n_left, m), left.dtype), np.zeros((n_right, n), left.dtype)
    run, begin = run_at(span[0], runs), span[0]
    while begin < span[1]:
        end, own = min(span[1], runs[run + 1, 0]), gradient[runs[run, 1], runs[run, 2]]
        for a in range(n_left):
            for b in range(n_right):
                slopes[a, b] = turned[b, a] = own[a, b]
        for row in range(begin - span[0], end - span[0]):
            by_j = by_k = by_third = by_cosine = eight(left.dtype.type(0))
            for first in range(0, m, EIGHT):
                by_right = load(slopes, first) * left[row, 0, 0]
                for a in range(1, n_left):
                    by_right = by_right + load(slopes, a * m + first) * left[row, 0, a]
                by_cosine = by_cosine + by_right * load(right, 2 * row * m + m + first)
            for first in range(0, n, EIGHT):
                by_left = load(turned, first) * right[row, 0, 0]
                for b in range(1, n_right):
                    by_left = by_left + load(turned, b * n + first) * right[row, 0, b]
                by_j = by_j + by_left * load(left, (4 * row + 1) * n + first)
                by_k = by_k + by_left * load(left, (4 * row + 2) * n + first)
                by_third = by_third + by_left * load(left, (4 * row + 3) * n + first)
            back[row, 0], back[row, 1], back[row, 2], back[row, 3] = total(by_j), total(by_k), total(by_third), total(by_cosine)
        begin, run = end, run + 1


@part_of_loop
def _give(back: np.ndarray, span: Part, listed: tuple[Neighbors, Triplets], block: Block, pulls: np.ndarray) -> None:
    """From the sides, the third argument and the cosine to the vectors of both pairs: α_j r_ij + β r_ik and α_k r_ik + β r_ij."""
    which, lines, corner, places = listed[0][0], listed[0][2], block[0], listed[1][0]
    for row in range(span[1] - span[0]):
        j, k = places[span[0] + row, 0], places[span[0] + row, 1]
        per_third, turn = back[row, 2] * corner[row, 2], back[row, 3] * corner[row, 0]
        of_j = (back[row, 0] - turn * lines[j, 3]) * lines[j, 3] + per_third
        of_k = (back[row, 1] - turn * lines[k, 3]) * lines[k, 3] + per_third
        both = back[row, 3] * corner[row, 1] - per_third
        for axis in range(3):
            pulls[which[j], axis] += of_j * lines[j, axis] + both * lines[k, axis]
            pulls[which[k], axis] += of_k * lines[k, axis] + both * lines[j, axis]


@part_of_loop
def _move(
    displacement: np.ndarray, span: Part, listed: tuple[Neighbors, Triplets], block: Block, changes: tuple[np.ndarray, np.ndarray]
) -> None:
    """How both factors of a block change as the pairs are displaced: what `_tug` and `_give` are the transpose of."""
    which, lines, places = listed[0][0], listed[0][2], listed[1][0]
    (corner, left, right), (of_left, of_right) = block, changes
    for row in range(span[1] - span[0]):
        j, k = places[span[0] + row, 0], places[span[0] + row, 1]
        j_by_j = across = k_by_k = left.dtype.type(0)
        for axis in range(3):
            of_j, of_k = displacement[which[j], axis], displacement[which[k], axis]
            j_by_j += lines[j, axis] * of_j
            across += lines[j, axis] * of_k + lines[k, axis] * of_j
            k_by_k += lines[k, axis] * of_k
        along_j, along_k = j_by_j * lines[j, 3], k_by_k * lines[k, 3]
        along_third = (j_by_j + k_by_k - across) * corner[row, 2]
        turn = across * corner[row, 1] - corner[row, 0] * (along_j * lines[j, 3] + along_k * lines[k, 3])
        for a in range(left.shape[2]):
            of_left[row, 0, a] = left[row, 1, a] * along_j + left[row, 2, a] * along_k + left[row, 3, a] * along_third
        for b in range(right.shape[2]):
            of_right[row, 0, b] = right[row, 1, b] * turn
