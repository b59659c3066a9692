"""The loops of `nnpx.descriptor.neighbor_sums`: over some atoms at once, neighbour by neighbour.

Processors do the same to several numbers in one go; many short sums one after the other are what they are worst at. So a few atoms form a
group, whose n-th neighbours are worked on together: every inner loop is over the atoms of the group, and writes one row. Neighbours are
ordered by the first channel in which they weigh anything, so that with one channel per element each costs its own channel only.
"""

from typing import Final

import numpy as np

from nnpx.descriptor.table_loops import find, read
from nnpx.speed.eights import EIGHT, store
from nnpx.speed.loops import Loop, Part, part_of_loop

#: atoms of a group, a multiple of eight: many, as every short loop has its beginning, and so few that their moments stay in a near cache
_ATOMS: Final = 128

#: (edge, 3), (edge,), (edge, channel), (atom + 1,): vector, distance, weight, and where the pairs of each atom begin
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: (piece, 6, wave), (3,), (2, monomial), (2, term), (term,): table of φ_k f_c, which are the waves, its reach, steps of the monomials,
#: places and factors of the harmonics
Basis = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: of one neighbour of every atom of a group: its pair or −1, 1/r, r̂ (axis, atom), monomials of r̂, φ f_c, their slopes, weights
Slot = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@Loop
def expand(sums: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """B of some atoms into sums (component, atom, wave · channel) of all."""
    n_channels, n_monomials, n_waves = pairs[2].shape[1], basis[2].shape[1], basis[0].shape[2]
    room = min(_ATOMS, (part[1] - part[0] + 7) // 8 * 8)
    one, other = _slot(sums, room, n_channels, n_monomials, n_waves), _slot(sums, room, n_channels, n_monomials, n_waves)
    density = np.empty((n_channels, n_monomials, n_waves, room), sums.dtype)
    moments = np.empty((n_channels, n_monomials, n_waves, room), sums.dtype)
    place, bounds = _places(pairs, room)
    for first in range(part[0], part[1], _ATOMS):
        n_own = min(_ATOMS, part[1] - first)
        n_atoms, n_slots = _arrange((first, first + n_own), pairs, basis[1], place, bounds)
        density[:] = 0.0
        for slot in range(0, n_slots, 2):
            _fill(one, place[slot], n_atoms, pairs, basis)
            _fill(other, place[slot + 1], n_atoms, pairs, basis)
            for channel in range(n_channels):
                if bounds[0, channel] <= slot < bounds[1, channel]:
                    _add(one, other, channel, n_atoms, density[channel])
        _mix(density, basis[3], basis[4], n_atoms, moments)
        _transpose(moments, first, n_own, sums, False)


@Loop
def pull_back(pulls: np.ndarray, gradient: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """Σ (∂V/∂B_i) (∂B_i/∂r_ij) of some atoms into pulls (energy, edge, 3), from ∂V/∂B (energy, component, atom, wave · channel)."""
    n_energies, n_channels, n_monomials, n_waves = len(pulls), pairs[2].shape[1], basis[2].shape[1], basis[0].shape[2]
    room = min(_ATOMS, (part[1] - part[0] + 7) // 8 * 8)
    near = _slot(pulls, room, n_channels, n_monomials, n_waves)
    density = np.empty((n_energies, n_channels, n_monomials, n_waves, room), pulls.dtype)
    moments = np.zeros((n_channels, n_monomials, n_waves, room), pulls.dtype)
    back = np.empty((n_monomials + 4, room), pulls.dtype)  # of the monomials, of r̂, of r; those of r̂ are free until the end
    (place, bounds), pulls[:, pairs[3][part[0]] : pairs[3][part[1]]] = _places(pairs, room), 0.0
    for first in range(part[0], part[1], _ATOMS):
        n_own = min(_ATOMS, part[1] - first)
        n_atoms, n_slots = _arrange((first, first + n_own), pairs, basis[1], place, bounds)
        for energy in range(n_energies):
            _transpose(moments, first, n_own, gradient[energy], True)
            _mix(moments, basis[3][::-1], basis[4], n_atoms, density[energy])
        for slot in range(n_slots):
            _fill(near, place[slot], n_atoms, pairs, basis)
            for energy in range(n_energies):
                back[:] = 0.0
                for channel in range(n_channels):
                    if bounds[0, channel] <= slot < bounds[1, channel]:
                        _tug(density[energy, channel], near, channel, n_atoms, back)
                _turn(near, basis[2], n_atoms, back, pulls[energy])


@Loop
def change(changes: np.ndarray, displacement: np.ndarray, pairs: Pairs, basis: Basis, part: Part) -> None:
    """Σ_j (∂B_i/∂r_ij) · d_ij of some atoms into changes (energy, component, atom, wave · channel) of all, from d (energy, edge, 3)."""
    n_energies, n_channels, n_monomials, n_waves = len(changes), pairs[2].shape[1], basis[2].shape[1], basis[0].shape[2]
    room = min(_ATOMS, (part[1] - part[0] + 7) // 8 * 8)
    near, free = _slot(changes, room, n_channels, n_monomials, n_waves), _slot(changes, room, n_channels, n_monomials, n_waves)
    turned = (near[0], near[1], near[2], free[3], near[4], np.empty((1, room), changes.dtype), near[6])
    stretched = (near[0], near[1], near[2], near[3], free[4], np.empty((1, room), changes.dtype), near[6])
    density = np.empty((n_energies, n_channels, n_monomials, n_waves, room), changes.dtype)
    moments = np.empty((n_channels, n_monomials, n_waves, room), changes.dtype)
    place, bounds = _places(pairs, room)
    for first in range(part[0], part[1], _ATOMS):
        n_own = min(_ATOMS, part[1] - first)
        n_atoms, n_slots = _arrange((first, first + n_own), pairs, basis[1], place, bounds)
        density[:] = 0.0
        for slot in range(n_slots):
            _fill(near, place[slot], n_atoms, pairs, basis)
            for energy in range(n_energies):
                _move(near, displacement[energy], basis[2], n_atoms, free)
                for channel in range(n_channels):
                    if bounds[0, channel] <= slot < bounds[1, channel]:
                        _add(turned, stretched, channel, n_atoms, density[energy, channel])
        for energy in range(n_energies):
            _mix(density[energy], basis[3], basis[4], n_atoms, moments)
            _transpose(moments, first, n_own, changes[energy], False)


@part_of_loop
def _slot(like: np.ndarray, room: int, n_channels: int, n_monomials: int, n_waves: int) -> Slot:
    return (
        np.empty(room, np.int64),
        np.empty(room, like.dtype),
        np.empty((3, room), like.dtype),
        np.empty((n_monomials, room), like.dtype),
        np.empty((n_waves, room), like.dtype),
        np.empty((n_waves, room), like.dtype),
        np.empty((n_channels, room), like.dtype),
    )


@part_of_loop
def _places(pairs: Pairs, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for the pair of every neighbour of a group, filled up to twos in each channel, and for where each channel begins and ends."""
    start, n_channels = pairs[3], pairs[2].shape[1]
    most = 0
    for atom in range(len(start) - 1):
        most = max(most, start[atom + 1] - start[atom])
    return np.empty(((most + 1) * n_channels + 1, room), np.int64), np.empty((2, n_channels), np.int64)


@part_of_loop
def _arrange(group: Part, pairs: Pairs, reach: np.ndarray, place: np.ndarray, bounds: np.ndarray) -> tuple[int, int]:
    """Neighbours within the radius, by their first channel: how many atoms, in eights, and neighbours there are, these in twos."""
    _, distance, weight, start = pairs
    first, n_own = group[0], group[1] - group[0]
    n_channels, radius = weight.shape[1], reach[2]  # what is at no distance at all, NaN, is no far neighbour
    begin, bounds[0], bounds[1] = 0, len(place), 0
    for channel in range(n_channels):
        end = begin
        for atom in range(n_own):
            slot = begin
            for pair in range(start[first + atom], start[first + atom + 1]):
                if weight[pair, channel] == 0.0 or radius <= distance[pair] < np.inf or np.any(weight[pair, :channel]):
                    continue
                if slot >= end:
                    place[slot] = -1
                    end = slot + 1
                place[slot, atom] = pair
                slot += 1
                for other in range(channel, n_channels):
                    if weight[pair, other] != 0.0:
                        bounds[0, other] = min(bounds[0, other], begin)
                        bounds[1, other] = max(bounds[1, other], slot)
        if (end - begin) % 2 == 1:
            place[end] = -1
            end += 1
        begin = end
    return (n_own + 7) // 8 * 8, begin


@part_of_loop
def _fill(near: Slot, place: np.ndarray, n_atoms: int, pairs: Pairs, basis: Basis) -> None:
    """All there is to say of one neighbour of each atom; where there is none, its weight is 0."""
    vector, distance, weight, _ = pairs
    table, reach, steps, _, _ = basis
    which, inverse, unit, monomials, waves, slopes, weights = near
    number, some = unit.dtype.type, np.empty(2 * EIGHT, unit.dtype)
    for atom in range(n_atoms):
        pair = place[atom]
        which[atom] = pair
        is_there = pair >= 0
        length = distance[pair] if is_there else reach[2]
        inverse[atom] = number(1) / length
        for axis in range(3):
            unit[axis, atom] = vector[pair, axis] * inverse[atom] if is_there else number(0)
        for channel in range(len(weights)):
            weights[channel, atom] = weight[pair, channel] if is_there else number(0)
        begin, t = find(table, reach, length)
        for first in range(0, len(waves), EIGHT):
            value, slope = read(table, begin + first, t)
            store(some, 0, value)
            store(some, EIGHT, slope)
            for k in range(EIGHT):
                waves[first + k, atom], slopes[first + k, atom] = some[k], some[EIGHT + k] * reach[0]
    monomials[0, :n_atoms] = 1.0
    for m in range(1, len(monomials)):
        lower, factor, to = monomials[steps[0, m]], unit[steps[1, m]], monomials[m]
        for atom in range(n_atoms):
            to[atom] = lower[atom] * factor[atom]


@part_of_loop
def _move(near: Slot, displacement: np.ndarray, steps: np.ndarray, n_atoms: int, moved: Slot) -> None:
    """How the monomials of one neighbour of each atom and its waves change as it is displaced: by r̂, which turns, and by r."""
    which, inverse, unit, monomials, _, slopes, _ = near
    _, along, turning, changes, waves, _, _ = moved
    turning[:], along[:] = 0.0, 0.0
    for atom in range(n_atoms):
        if which[atom] >= 0:
            for axis in range(3):
                turning[axis, atom] = displacement[which[atom], axis]
                along[atom] += unit[axis, atom] * turning[axis, atom]
    for axis in range(3):
        for atom in range(n_atoms):
            turning[axis, atom] = (turning[axis, atom] - unit[axis, atom] * along[atom]) * inverse[atom]
    changes[0, :n_atoms] = 0.0
    for m in range(1, len(monomials)):
        lower, factor, to = monomials[steps[0, m]], unit[steps[1, m]], changes[m]
        of_lower, of_factor = changes[steps[0, m]], turning[steps[1, m]]
        for atom in range(n_atoms):
            to[atom] = of_lower[atom] * factor[atom] + lower[atom] * of_factor[atom]
    for k in range(len(waves)):
        for atom in range(n_atoms):
            waves[k, atom] = slopes[k, atom] * along[atom]


@part_of_loop
def _add(one: Slot, other: Slot, channel: int, n_atoms: int, density: np.ndarray) -> None:
    """All products of a monomial and a wave, of two neighbours; the slopes, of no use here, make room for weighted waves, one row each."""
    _, _, _, monomials, waves, room, weights = one
    _, _, _, other_monomials, other_waves, other_room, other_weights = other
    weight, other_weight, weighted, other_weighted = weights[channel], other_weights[channel], room[0], other_room[0]
    for k in range(len(waves)):
        wave, other_wave = waves[k], other_waves[k]
        for atom in range(n_atoms):
            weighted[atom], other_weighted[atom] = wave[atom] * weight[atom], other_wave[atom] * other_weight[atom]
        for m in range(len(density)):
            row, other_row, to = monomials[m], other_monomials[m], density[m, k]
            for atom in range(n_atoms):
                to[atom] += row[atom] * weighted[atom] + other_row[atom] * other_weighted[atom]


@part_of_loop
def _tug(density: np.ndarray, near: Slot, channel: int, n_atoms: int, back: np.ndarray) -> None:
    """What pulls at the monomials and, in the last row, at r, by one channel."""
    _, _, _, monomials, waves, slopes, weights = near
    weight, along, by_wave, by_slope = weights[channel], back[-1], back[-2], back[-3]
    for m in range(len(monomials)):
        row, to = monomials[m], back[m]
        by_wave[:n_atoms] = 0.0
        by_slope[:n_atoms] = 0.0
        for k in range(0, len(waves), 4):  # of which tables hold a multiple: `tabulate`
            a, b, c, d = density[m, k], density[m, k + 1], density[m, k + 2], density[m, k + 3]
            p, q, r, s = waves[k], waves[k + 1], waves[k + 2], waves[k + 3]
            for atom in range(n_atoms):
                by_wave[atom] += a[atom] * p[atom] + b[atom] * q[atom] + c[atom] * r[atom] + d[atom] * s[atom]
            p, q, r, s = slopes[k], slopes[k + 1], slopes[k + 2], slopes[k + 3]
            for atom in range(n_atoms):
                by_slope[atom] += a[atom] * p[atom] + b[atom] * q[atom] + c[atom] * r[atom] + d[atom] * s[atom]
        for atom in range(n_atoms):
            to[atom] += weight[atom] * by_wave[atom]
        for atom in range(n_atoms):
            along[atom] += weight[atom] * row[atom] * by_slope[atom]


@part_of_loop
def _turn(near: Slot, steps: np.ndarray, n_atoms: int, back: np.ndarray, pulls: np.ndarray) -> None:
    """From the monomials back to r̂, and from r̂ and r to the vector: what points along r̂ does not turn it."""
    which, inverse, unit, monomials, _, _, _ = near
    along, turning = back[-1], back[-4:-1]
    turning[:] = 0.0
    for m in range(len(monomials) - 1, 0, -1):
        own, lower, factor = back[m], monomials[steps[0, m]], unit[steps[1, m]]
        to = turning[steps[1, m]]
        for atom in range(n_atoms):
            to[atom] += own[atom] * lower[atom]
        to = back[steps[0, m]]
        for atom in range(n_atoms):
            to[atom] += own[atom] * factor[atom]
    for atom in range(n_atoms):
        pair = which[atom]
        if pair >= 0:
            x, y, z = unit[0, atom], unit[1, atom], unit[2, atom]
            a, b, c = turning[0, atom] * inverse[atom], turning[1, atom] * inverse[atom], turning[2, atom] * inverse[atom]
            outward = along[atom] - (x * a + y * b + z * c)
            pulls[pair, 0], pulls[pair, 1], pulls[pair, 2] = a + x * outward, b + y * outward, c + z * outward


@part_of_loop
def _mix(given: np.ndarray, place: np.ndarray, factors: np.ndarray, n_atoms: int, outcome: np.ndarray) -> None:
    """From monomials to harmonics, and gradients of these back to monomials: from the first to the second place of every term."""
    outcome[:] = 0.0
    for channel in range(len(given)):
        for term in range(len(factors)):
            factor = factors[term]
            for k in range(given.shape[2]):
                own, to = given[channel, place[0, term], k], outcome[channel, place[1, term], k]
                for atom in range(n_atoms):
                    to[atom] += factor * own[atom]


@part_of_loop
def _transpose(moments: np.ndarray, first: int, n_own: int, of_all: np.ndarray, is_way_back: bool) -> None:
    """The moments of a group into those of all atoms (component, atom, wave · channel), or on the way back out of them."""
    n_channels = len(moments)
    for channel in range(n_channels):
        for component in range(moments.shape[1]):
            for wave in range(of_all.shape[2] // n_channels):
                own, column = moments[channel, component, wave], wave * n_channels + channel
                for atom in range(n_own):
                    if is_way_back:
                        own[atom] = of_all[component, first + atom, column]
                    else:
                        of_all[component, first + atom, column] = own[atom]
