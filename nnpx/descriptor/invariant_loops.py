"""The loops of `nnpx.descriptor.invariants`: from moments to invariants and back in one pass, on a processor.

As sums of products one after the other, tensors and their gradients are written to memory and read again; here some atoms at a time stay in
the nearest cache from their moments to their features. The derivative is written out, and so is that of the derivative, which training asks
for.
"""

from typing import Final

import numpy as np

from nnpx.speed.loops import Loop, Part, part_of_loop

#: columns (atom, density) at a time, unless one atom has more: their tensors and the gradients of these stay in the cache
_COLUMNS: Final = 256
#: (3, term) and (term,): places k, i, j of c A_i A_j in Z_k, and factors c
TermsInLoop = tuple[np.ndarray, np.ndarray]


@Loop
def evaluate(features: np.ndarray, moments: np.ndarray, terms: tuple[TermsInLoop, TermsInLoop], n_coupled: int, part: Part) -> None:
    """The invariants of the moments (component, atom, density) of some atoms into features (atom, kind · density) of all."""
    (coupling, gather), (begin, end) = terms, part
    n_densities = moments.shape[2]
    tensors = _workplace(moments, n_coupled, end - begin)
    n_kinds, at_once = features.shape[1] // n_densities, tensors.shape[1] // n_densities
    scalars = np.empty((n_kinds, tensors.shape[1]), features.dtype)
    for first in range(begin, end, at_once):
        n = min(at_once, end - first)
        _couple(moments, first, n, coupling, tensors)
        scalars[:] = 0.0
        scalars[0] = tensors[0]
        _add_products(tensors, gather, 1, scalars)
        _give_features(scalars, first, n, features)


@Loop
def pull_back(
    gradient: np.ndarray, operands: tuple[np.ndarray, np.ndarray], terms: tuple[TermsInLoop, TermsInLoop], n_coupled: int, part: Part
) -> None:
    """∂V/∂A (energy, component, atom, density) of some atoms from ∂V/∂G (energy, atom, kind · density) and the moments."""
    slopes, moments = operands
    (coupling, gather), (begin, end) = terms, part
    n_components, n_densities = moments.shape[0], moments.shape[2]
    tensors = _workplace(moments, n_coupled, end - begin)
    n_kinds, at_once = slopes.shape[2] // n_densities, tensors.shape[1] // n_densities
    scalars, back = np.empty((n_kinds, tensors.shape[1]), gradient.dtype), np.empty_like(tensors)
    for first in range(begin, end, at_once):
        n = min(at_once, end - first)
        _couple(moments, first, n, coupling, tensors)
        for energy in range(len(slopes)):
            _take_slopes(slopes[energy], first, n, scalars)
            back[:] = 0.0
            back[0] = scalars[0]
            _add_slopes(scalars, tensors, gather, 1, back)
            _add_slopes(back, tensors, coupling, n_components, back)
            for component in range(n_components):
                for atom in range(n):
                    for density in range(n_densities):
                        gradient[energy, component, first + atom, density] = back[component, atom * n_densities + density]


@Loop
def bend(
    outcome: tuple[np.ndarray, np.ndarray],
    operands: tuple[np.ndarray, np.ndarray, np.ndarray],
    terms: tuple[TermsInLoop, TermsInLoop],
    n_coupled: int,
    part: Part,
) -> None:
    """How what `pull_back` gives changes with its operands, along displacements D of ∂V/∂A (energy, component, atom, density).

    The operands are D, ∂V/∂G and A. Into the first outcome ∂(D · ∂V/∂A)/∂(∂V/∂G) (energy, atom, kind · density), which is (∂G/∂A) D; into
    the second ∂(D · ∂V/∂A)/∂A (component, atom, density), the sum over the energies of Σ_G (∂V/∂G) (∂²G/∂A²) D. Both are found as what
    changes when A moves by D: tensors T = (A, Z) by `changes`, and of the way back from G by way of Z to A, which is `back`, `turned`.
    """
    (rises, bends), (displacement, slopes, moments) = outcome, operands
    (coupling, gather), (begin, end) = terms, part
    n_components, n_densities = moments.shape[0], moments.shape[2]
    tensors = _workplace(moments, n_coupled, end - begin)
    n_kinds, at_once = slopes.shape[2] // n_densities, tensors.shape[1] // n_densities
    changes, back, turned = np.empty_like(tensors), np.empty_like(tensors), np.empty_like(tensors)
    scalars, risen = np.empty((n_kinds, tensors.shape[1]), moments.dtype), np.empty((n_kinds, tensors.shape[1]), moments.dtype)
    for first in range(begin, end, at_once):
        n = min(at_once, end - first)
        _couple(moments, first, n, coupling, tensors)
        bends[:, first : first + n] = 0.0
        for energy in range(len(slopes)):
            _take(displacement[energy], first, n, changes)
            _add_changes(tensors, changes, coupling, n_components, changes)
            _take_slopes(slopes[energy], first, n, scalars)
            risen[:] = 0.0
            risen[0] = changes[0]
            _add_changes(tensors, changes, gather, 1, risen)
            back[:] = 0.0
            turned[:] = 0.0
            _add_slopes(scalars, tensors, gather, 1, back)
            _add_slopes(scalars, changes, gather, 1, turned)
            _add_slopes(turned, tensors, coupling, n_components, turned)
            _add_slopes(back, changes, coupling, n_components, turned)
            _give_features(risen, first, n, rises[energy])
            for component in range(n_components):
                for atom in range(n):
                    for density in range(n_densities):
                        bends[component, first + atom, density] += turned[component, atom * n_densities + density]


@part_of_loop
def _workplace(moments: np.ndarray, n_coupled: int, n_atoms: int) -> np.ndarray:
    """Room for the moments of some atoms at a time and, below them, what they couple to."""
    at_once = max(1, min(_COLUMNS // moments.shape[2], n_atoms))
    return np.empty((len(moments) + n_coupled, at_once * moments.shape[2]), moments.dtype)


@part_of_loop
def _couple(moments: np.ndarray, first: int, n_atoms: int, coupling: TermsInLoop, tensors: np.ndarray) -> None:
    """The moments of some atoms and, below them, what they couple to."""
    _take(moments, first, n_atoms, tensors)
    _add_products(tensors, coupling, len(moments), tensors)


@part_of_loop
def _take(moments: np.ndarray, first: int, n_atoms: int, tensors: np.ndarray) -> None:
    """What there is of each component of some atoms, into columns, and nothing below."""
    n_densities = moments.shape[2]
    tensors[:] = 0.0
    for component in range(len(moments)):
        for atom in range(n_atoms):
            for density in range(n_densities):
                tensors[component, atom * n_densities + density] = moments[component, first + atom, density]


@part_of_loop
def _take_slopes(slopes: np.ndarray, first: int, n_atoms: int, scalars: np.ndarray) -> None:
    """Slopes in the features of some atoms, into columns, a row for every kind."""
    n_kinds = len(scalars)
    n_densities = slopes.shape[1] // n_kinds
    scalars[:] = 0.0
    for atom in range(n_atoms):
        for kind in range(n_kinds):
            for density in range(n_densities):
                scalars[kind, atom * n_densities + density] = slopes[first + atom, kind * n_densities + density]


@part_of_loop
def _give_features(scalars: np.ndarray, first: int, n_atoms: int, features: np.ndarray) -> None:
    """The other way round: from a row for every kind to the features of some atoms."""
    n_kinds = len(scalars)
    n_densities = features.shape[1] // n_kinds
    for atom in range(n_atoms):
        for kind in range(n_kinds):
            for density in range(n_densities):
                features[first + atom, kind * n_densities + density] = scalars[kind, atom * n_densities + density]


@part_of_loop
def _add_products(tensors: np.ndarray, terms: TermsInLoop, begin: int, sums: np.ndarray) -> None:
    """Σ c T_i T_j into the rows from `begin` on."""
    place, factors = terms
    for term in range(len(factors)):
        to, one, other = sums[begin + place[0, term]], tensors[place[1, term]], tensors[place[2, term]]
        factor = sums.dtype.type(factors[term])
        for column in range(len(to)):
            to[column] += factor * one[column] * other[column]


@part_of_loop
def _add_changes(tensors: np.ndarray, changes: np.ndarray, terms: TermsInLoop, begin: int, sums: np.ndarray) -> None:
    """Σ c (δT_i T_j + T_i δT_j) into the rows from `begin` on."""
    place, factors = terms
    for term in range(len(factors)):
        to, one, other = sums[begin + place[0, term]], tensors[place[1, term]], tensors[place[2, term]]
        of_one, of_other = changes[place[1, term]], changes[place[2, term]]
        factor = sums.dtype.type(factors[term])
        for column in range(len(to)):
            to[column] += factor * (of_one[column] * other[column] + one[column] * of_other[column])


@part_of_loop
def _add_slopes(slopes: np.ndarray, tensors: np.ndarray, terms: TermsInLoop, begin: int, back: np.ndarray) -> None:
    """Adds c (∂V/∂Z_k) T_j to ∂V/∂T_i, and the other way round, from the rows of slopes from `begin` on."""
    place, factors = terms
    for term in range(len(factors)):
        slope, one, other = slopes[begin + place[0, term]], tensors[place[1, term]], tensors[place[2, term]]
        to_one, to_other = back[place[1, term]], back[place[2, term]]
        factor = back.dtype.type(factors[term])
        for column in range(len(slope)):
            to_one[column] += factor * slope[column] * other[column]
        for column in range(len(slope)):
            to_other[column] += factor * slope[column] * one[column]
