"""Sums of few products of rows: what the coupling of moments is, without its zeros.

    Z_k = Σ_n c_n L_{i_n} ∘ R_{j_n}    over the terms n with k_n = k, column by column

As a product of matrices a coupling costs its zeros too, nine of ten numbers, and writes every L ∘ R to memory before they are summed. Here
terms are added one by one, to as many columns as the cache holds. The derivative of such a sum is another one, with the
same terms: so is that of the derivative.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.speed.compiled import operation, with_known_signature
from nnpx.speed.loops import Loop

#: columns at a time: rows of this length lie in the cache while all terms are added
_COLUMNS: Final = 256


@final
@dataclass(frozen=True)
class Terms:
    """Which rows are multiplied, by which number, and where they are added."""

    place: Int[Tensor, "3 term"]  #: k_n, i_n and j_n
    coefficient: Float[Tensor, " term"]  #: c_n, float64
    n_rows: tuple[int, int, int]  #: of Z, L and R

    @cached_property
    def to_left(self) -> "Terms":
        """∂/∂L: from Z and R to L."""
        k, i, j = self.n_rows
        return _in_order(self.place[[1, 0, 2]], self.coefficient, (i, k, j))

    @cached_property
    def to_right(self) -> "Terms":
        """∂/∂R: from Z and L to R."""
        k, i, j = self.n_rows
        return _in_order(self.place[[2, 0, 1]], self.coefficient, (j, k, i))

    @cached_property
    def to_both(self) -> "Terms":
        """∂/∂A of Z(A, A): from Z and A to A."""
        left, right = self.to_left, self.to_right
        return _in_order(torch.cat([left.place, right.place], 1), torch.cat([left.coefficient, right.coefficient]), left.n_rows)


def terms_of(coupling: Float[Tensor, "out pair"], pair: Int[Tensor, "2 pair"], n_rows: int) -> Terms:
    """The terms of coupling · (A[pair₀] ∘ A[pair₁]), where A has so many rows."""
    out, column = coupling.nonzero().unbind(1)
    return _in_order(torch.cat([out[None], pair[:, column]]), coupling[out, column].double(), (len(coupling), n_rows, n_rows))


def _in_order(place: Int[Tensor, "3 term"], coefficient: Float[Tensor, " term"], n_rows: tuple[int, int, int]) -> Terms:
    """Those of one sum together, so that it stays in the nearest cache."""
    order = place[0].argsort(stable=True)
    return Terms(place[:, order].contiguous(), coefficient[order], n_rows)


def sums_of_products(left: Float[Tensor, "left column"], right: Float[Tensor, "right column"], terms: Terms) -> Float[Tensor, "out column"]:
    """Z(L, R), on a processor; it can be differentiated backward any number of times, and forward once."""
    sums: Tensor = _Bilinear.apply(left, right, terms)  # type: ignore[no-untyped-call]  # as torch has it
    return sums


def sums_of_own_products(rows: Float[Tensor, "row column"], terms: Terms) -> Float[Tensor, "out column"]:
    """Z(A, A), likewise."""
    sums: Tensor = _Quadratic.apply(rows, terms)  # type: ignore[no-untyped-call]  # as torch has it
    return sums


@with_known_signature
class _Bilinear(torch.autograd.Function):
    """Z(L, R)."""

    @staticmethod
    def forward(left: Tensor, right: Tensor, terms: Terms) -> Tensor:
        return _evaluated(left, right, terms)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Terms], output: Tensor) -> None:
        left, right, ctx.terms = inputs
        ctx.save_for_backward(left, right)
        ctx.save_for_forward(left, right)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        by_left, by_right, _ = ctx.needs_input_grad
        return (
            sums_of_products(grads[0], right, ctx.terms.to_left) if by_left else None,
            sums_of_products(grads[0], left, ctx.terms.to_right) if by_right else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        left, right = ctx.saved_tensors
        by_left, by_right = (torch.zeros_like(at) if by is None else by for at, by in zip((left, right), tangents, strict=False))
        return sums_of_products(by_left, right, ctx.terms) + sums_of_products(left, by_right, ctx.terms)

    @staticmethod
    def vmap(info: Any, in_dims: Any, left: Tensor, right: Tensor, terms: Terms) -> tuple[Tensor, int]:
        left, right = _side_by_side(left, in_dims[0], info.batch_size), _side_by_side(right, in_dims[1], info.batch_size)
        return sums_of_products(left, right, terms).unflatten(1, (info.batch_size, -1)), 1


@with_known_signature
class _Quadratic(torch.autograd.Function):
    """Z(A, A)."""

    @staticmethod
    def forward(rows: Tensor, terms: Terms) -> Tensor:
        return _evaluated(rows, rows, terms)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Terms], output: Tensor) -> None:
        rows, ctx.terms = inputs
        ctx.save_for_backward(rows)
        ctx.save_for_forward(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        return sums_of_products(grads[0], rows, ctx.terms.to_both), None

    @staticmethod
    def jvp(ctx: Any, change: Tensor, _: None) -> Tensor:
        (rows,) = ctx.saved_tensors
        return sums_of_products(change, rows, ctx.terms) + sums_of_products(rows, change, ctx.terms)

    @staticmethod
    def vmap(info: Any, in_dims: Any, rows: Tensor, terms: Terms) -> tuple[Tensor, int]:
        return sums_of_own_products(_side_by_side(rows, in_dims[0], info.batch_size), terms).unflatten(1, (info.batch_size, -1)), 1


def _side_by_side(rows: Tensor, dim: int | None, n: int) -> Float[Tensor, "row column"]:
    """The columns of all n batches; the same for each, where there is one for all."""
    batches = rows.unsqueeze(1).expand(-1, n, -1) if dim is None else rows.movedim(dim, 1)
    return batches.flatten(1)


def _evaluated(left: Tensor, right: Tensor, terms: Terms) -> Tensor:
    sums: Tensor = _SUMS(left, right, terms.place, terms.coefficient, terms.n_rows[0])
    return sums


def _on_processor(left: Tensor, right: Tensor, place: Tensor, coefficient: Tensor, n_rows: int) -> Tensor:
    sums = _shape(left, right, place, coefficient, n_rows)
    one, other = left.detach().contiguous().numpy(), right.detach().contiguous().numpy()
    _add_terms(one, other, place.numpy(), coefficient.numpy(), sums.numpy())
    return sums


def _shape(left: Tensor, right: Tensor, place: Tensor, coefficient: Tensor, n_rows: int) -> Tensor:
    return left.new_empty(n_rows, left.shape[1])


_SUMS: Final = operation(
    "sums_of_products(Tensor left, Tensor right, Tensor place, Tensor coefficient, int n_rows) -> Tensor", _on_processor, _shape
)


@Loop
def _add_terms(left: np.ndarray, right: np.ndarray, place: np.ndarray, coefficient: np.ndarray, sums: np.ndarray) -> None:
    n_columns = sums.shape[1]
    for start in range(0, n_columns, _COLUMNS):
        stop = min(start + _COLUMNS, n_columns)
        sums[:, start:stop] = 0.0
        for n in range(len(coefficient)):
            to, one, other = sums[place[0, n], start:stop], left[place[1, n], start:stop], right[place[2, n], start:stop]
            factor = sums.dtype.type(coefficient[n])
            for column in range(len(to)):
                to[column] += factor * one[column] * other[column]
