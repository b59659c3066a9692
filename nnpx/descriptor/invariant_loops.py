"""The loops of `Invariants`: from moments to invariants and back in one pass, for evaluation on a processor.

As sums of products one after the other, tensors and their gradients are written to memory and read again; here some atoms at a time stay in
the nearest cache from their moments to their features. The derivative is written out, and has none itself.
"""

from functools import partial
from typing import Final

import numpy as np
from torch import Tensor

from nnpx.speed.compiled import operation
from nnpx.speed.loops import Loop, Part, part_of_loop
from nnpx.speed.threads import in_parts

#: columns (atom, density) at a time, unless one atom has more: their tensors and the gradients of these stay in the cache
_COLUMNS: Final = 256
#: atoms for which another thread is worth its beginning: there is less to do for each than with its neighbours
_FEWEST_ATOMS: Final = 256
#: (3, term) and (term,): places k, i, j of c A_i A_j in Z_k, and factors c
_Terms = tuple[np.ndarray, np.ndarray]


@Loop
def _evaluate(features: np.ndarray, moments: np.ndarray, terms: tuple[_Terms, _Terms], n_coupled: int, part: Part) -> None:
    """The invariants of the moments (component, atom, density) of some atoms into features (atom, kind · density) of all."""
    (coupling, gather), (begin, end) = terms, part
    n_densities = moments.shape[2]
    tensors = _workplace(moments, n_coupled, end - begin)
    n_kinds, at_once = features.shape[1] // n_densities, tensors.shape[1] // n_densities
    scalars = np.empty((n_kinds - 1, tensors.shape[1]), features.dtype)
    for first in range(begin, end, at_once):
        n = min(at_once, end - first)
        _couple(moments, first, n, coupling, tensors)
        scalars[:] = 0.0
        _add_products(tensors, gather, 0, scalars)
        for atom in range(n):
            for kind in range(n_kinds):
                row = tensors[0] if kind == 0 else scalars[kind - 1]
                for density in range(n_densities):
                    features[first + atom, kind * n_densities + density] = row[atom * n_densities + density]


@Loop
def _pull_back(
    gradient: np.ndarray, operands: tuple[np.ndarray, np.ndarray], terms: tuple[_Terms, _Terms], n_coupled: int, part: Part
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
            scalars[:] = 0.0
            for atom in range(n):
                for kind in range(n_kinds):
                    for density in range(n_densities):
                        scalars[kind, atom * n_densities + density] = slopes[energy, first + atom, kind * n_densities + density]
            back[:] = 0.0
            back[0] = scalars[0]
            _add_slopes(scalars, tensors, gather, 1, back)
            _add_slopes(back, tensors, coupling, n_components, back)
            for component in range(n_components):
                for atom in range(n):
                    for density in range(n_densities):
                        gradient[energy, component, first + atom, density] = back[component, atom * n_densities + density]


@part_of_loop
def _workplace(moments: np.ndarray, n_coupled: int, n_atoms: int) -> np.ndarray:
    """Room for the moments of some atoms at a time and, below them, what they couple to."""
    at_once = max(1, min(_COLUMNS // moments.shape[2], n_atoms))
    return np.empty((len(moments) + n_coupled, at_once * moments.shape[2]), moments.dtype)


@part_of_loop
def _couple(moments: np.ndarray, first: int, n_atoms: int, coupling: _Terms, tensors: np.ndarray) -> None:
    """The moments of some atoms and, below them, what they couple to."""
    n_components, _, n_densities = moments.shape
    tensors[:] = 0.0
    for component in range(n_components):
        for atom in range(n_atoms):
            for density in range(n_densities):
                tensors[component, atom * n_densities + density] = moments[component, first + atom, density]
    _add_products(tensors, coupling, n_components, tensors)


@part_of_loop
def _add_products(tensors: np.ndarray, terms: _Terms, begin: int, sums: np.ndarray) -> None:
    """Σ c T_i T_j into the rows from `begin` on."""
    place, factors = terms
    for term in range(len(factors)):
        to, one, other = sums[begin + place[0, term]], tensors[place[1, term]], tensors[place[2, term]]
        factor = sums.dtype.type(factors[term])
        for column in range(len(to)):
            to[column] += factor * one[column] * other[column]


@part_of_loop
def _add_slopes(slopes: np.ndarray, tensors: np.ndarray, terms: _Terms, begin: int, back: np.ndarray) -> None:
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


def _room_for_features(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
    _, n_atoms, n_densities = moments.shape
    return moments.new_empty(n_atoms, (1 + n_scalars) * n_densities)


def _room_for_gradient(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
    return slopes.new_empty(len(slopes), *moments.shape)


def _invariants(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
    features = _room_for_features(moments, terms, n_coupled, n_scalars)
    loop = partial(_evaluate, features.numpy(), moments.contiguous().numpy(), _arrays(terms), n_coupled)
    in_parts(loop, moments.shape[1], fewest=_FEWEST_ATOMS)
    return features


def _gradient(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
    gradient, operands = _room_for_gradient(slopes, moments, terms, n_coupled), (slopes.contiguous().numpy(), moments.contiguous().numpy())
    in_parts(partial(_pull_back, gradient.numpy(), operands, _arrays(terms), n_coupled), moments.shape[1], fewest=_FEWEST_ATOMS)
    return gradient


def _arrays(terms: list[Tensor]) -> tuple[_Terms, _Terms]:
    coupling, coupling_factors, gather, gather_factors = (one.numpy() for one in terms)
    return (coupling, coupling_factors), (gather, gather_factors)


#: G (atom, kind · density) of moments (component, atom, density), from the places and factors of couplings and of scalars
INVARIANTS: Final = operation(
    "invariants(Tensor moments, Tensor[] terms, int n_coupled, int n_scalars) -> Tensor", _invariants, _room_for_features
)
#: ∂V/∂A of several energies from their ∂V/∂G
GRADIENT: Final = operation(
    "invariants_gradient(Tensor slopes, Tensor moments, Tensor[] terms, int n_coupled) -> Tensor", _gradient, _room_for_gradient
)
