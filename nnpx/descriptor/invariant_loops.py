"""The loops of `Invariants`: from moments to invariants and back in one pass, on a processor.

As sums of products one after the other, tensors and their gradients are written to memory and read again; here some atoms at a time stay in
the nearest cache from their moments to their features. The derivative is written out, and so is that of the derivative, which training asks
for.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnpx.speed.compiled import operation, with_known_signature
from nnpx.speed.loops import Loop, Part, part_of_loop
from nnpx.speed.threads import in_parts

#: columns (atom, density) at a time, unless one atom has more: their tensors and the gradients of these stay in the cache
_COLUMNS: Final = 256
#: atoms for which another thread is worth its beginning: there is less to do for each than with its neighbours
_FEWEST_ATOMS: Final = 256
#: (3, term) and (term,): places k, i, j of c A_i A_j in Z_k, and factors c
_Terms = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True)
class Terms:
    """A coupling without its zeros, which are nine of ten numbers: Z_k = Σ_n c_n A_{i_n} A_{j_n} over the terms n with k_n = k."""

    place: Int[Tensor, "3 term"]  #: k_n, i_n and j_n
    coefficient: Float[Tensor, " term"]  #: c_n, float64
    n_rows: int  #: of Z


def terms_of(coupling: Float[Tensor, "out pair"], pair: Int[Tensor, "2 pair"]) -> Terms:
    """The terms of coupling · (A[pair₀] ∘ A[pair₁]), those of one sum together, so that it stays in the nearest cache."""
    out, column = coupling.nonzero().unbind(1)
    place, order = torch.cat([out[None], pair[:, column]]), out.argsort(stable=True)
    return Terms(place[:, order].contiguous(), coupling[out, column].double()[order], len(coupling))


@Loop
def _evaluate(features: np.ndarray, moments: np.ndarray, terms: tuple[_Terms, _Terms], n_coupled: int, part: Part) -> None:
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
def _bend(
    outcome: tuple[np.ndarray, np.ndarray],
    operands: tuple[np.ndarray, np.ndarray, np.ndarray],
    terms: tuple[_Terms, _Terms],
    n_coupled: int,
    part: Part,
) -> None:
    """How what `_pull_back` gives changes with its operands, along displacements D of ∂V/∂A (energy, component, atom, density).

    The operands are D, ∂V/∂G and A. Into the first outcome ∂(D · ∂V/∂A)/∂(∂V/∂G) (energy, atom, kind · density), which is (∂G/∂A) D; into
    the second ∂(D · ∂V/∂A)/∂A (component, atom, density), the sum over the energies of Σ_G (∂V/∂G) (∂²G/∂A²) D.
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
def _couple(moments: np.ndarray, first: int, n_atoms: int, coupling: _Terms, tensors: np.ndarray) -> None:
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
def _add_products(tensors: np.ndarray, terms: _Terms, begin: int, sums: np.ndarray) -> None:
    """Σ c T_i T_j into the rows from `begin` on."""
    place, factors = terms
    for term in range(len(factors)):
        to, one, other = sums[begin + place[0, term]], tensors[place[1, term]], tensors[place[2, term]]
        factor = sums.dtype.type(factors[term])
        for column in range(len(to)):
            to[column] += factor * one[column] * other[column]


@part_of_loop
def _add_changes(tensors: np.ndarray, changes: np.ndarray, terms: _Terms, begin: int, sums: np.ndarray) -> None:
    """Σ c (δT_i T_j + T_i δT_j) into the rows from `begin` on."""
    place, factors = terms
    for term in range(len(factors)):
        to, one, other = sums[begin + place[0, term]], tensors[place[1, term]], tensors[place[2, term]]
        of_one, of_other = changes[place[1, term]], changes[place[2, term]]
        factor = sums.dtype.type(factors[term])
        for column in range(len(to)):
            to[column] += factor * (of_one[column] * other[column] + one[column] * of_other[column])


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


def _bends(displacement: Tensor, slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> tuple[Tensor, Tensor]:
    rises, bends = _room_for_bends(displacement, slopes, moments, terms, n_coupled)
    operands = tuple(one.detach().contiguous().numpy() for one in (displacement, slopes, moments))
    in_parts(partial(_bend, (rises.numpy(), bends.numpy()), operands, _arrays(terms), n_coupled), moments.shape[1], fewest=_FEWEST_ATOMS)
    return rises, bends


def _room_for_bends(displacement: Tensor, slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> tuple[Tensor, Tensor]:
    return slopes.new_empty(slopes.shape), moments.new_empty(moments.shape)


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
#: how the latter changes with its slopes and moments along displacements of ∂V/∂A: see `_bend`
BENDS: Final = operation(
    "invariants_bends(Tensor displacement, Tensor slopes, Tensor moments, Tensor[] terms, int n_coupled) -> (Tensor, Tensor)",
    _bends,
    _room_for_bends,
)


def invariants(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
    """`INVARIANTS` as autograd differentiates it, twice at most, and for several energies at once."""
    features: Tensor = _Invariants.apply(moments, terms, n_coupled, n_scalars)  # type: ignore[no-untyped-call]  # as torch has it
    return features


@with_known_signature
class _Invariants(torch.autograd.Function):
    """G(A)."""

    @staticmethod
    def forward(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
        features: Tensor = INVARIANTS(moments, terms, n_coupled, n_scalars)
        return features

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        moments, ctx.terms, ctx.n_coupled, _ = inputs
        ctx.shape = output.shape
        ctx.save_for_backward(moments)
        ctx.save_for_forward(moments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (moments,) = ctx.saved_tensors
        gradient: Tensor = _Gradient.apply(grads[0][None], moments, ctx.terms, ctx.n_coupled)  # type: ignore[no-untyped-call]
        return gradient[0], None, None, None

    @staticmethod
    def jvp(ctx: Any, change: Tensor, *_: None) -> Tensor:
        (moments,) = ctx.saved_tensors
        rises: Tensor = BENDS(change[None], moments.new_zeros(1, *ctx.shape), moments, ctx.terms, ctx.n_coupled)[0]
        return rises[0]


@with_known_signature
class _Gradient(torch.autograd.Function):
    """∂V/∂A of several energies, linear in their ∂V/∂G."""

    @staticmethod
    def forward(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
        gradient: Tensor = GRADIENT(slopes, moments, terms, n_coupled)
        return gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        slopes, moments, ctx.terms, ctx.n_coupled = inputs
        ctx.save_for_backward(slopes, moments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *BENDS(grads[0], *ctx.saved_tensors, ctx.terms, ctx.n_coupled), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        slopes, moments, terms, n_coupled = inputs
        if in_dims[1] is not None:
            raise NotImplementedError("gradients of invariants at several moments at once")
        energies = slopes.movedim(in_dims[0], 0)
        gradient: Tensor = _Gradient.apply(energies.flatten(0, 1), moments, terms, n_coupled)  # type: ignore[no-untyped-call]
        return gradient.unflatten(0, energies.shape[:2]), 0
