"""Sums over the pairs of every atom in loops, with the way back from them and the transpose of that, as operations of torch.

Energies pull at the pairs by the gradients in the sums: (∂V/∂S_i) (∂S_i/∂r_ij) is linear in these. What a training differentiates is that,
and its derivative is how the sums change as the pairs are displaced.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnpx.speed.compiled import arrays, operation, with_known_signature
from nnpx.speed.loops import Loop
from nnpx.speed.threads import in_parts

#: an operation of torch
Operation = Callable[..., Any]


def operations_of(
    name: str, loops: tuple[Loop, Loop, Loop], shape_of: Callable[[int, Sequence[int]], tuple[int, ...]]
) -> tuple[Operation, Operation, Operation]:
    """Three loops as operations: S of pairs, ∂V/∂r_ij (energy, edge, 3) of several energies from ∂V/∂S, and ΔS (energy, …) from Δr_ij.

    All are given the pairs, of which the first says the vectors and the last where those of each atom begin, and the basis, which says what
    is summed; the first and the last also numbers from which the shape of S follows.

    Args:
        name: of the operations, before `_sums`, `_pulls` and `_changes`.
        loops: from pairs and basis; from the gradient, or the displacement, and both.
        shape_of: S, from the number of atoms and the numbers given.
    """
    expand, pull_back, change = loops

    def room_for_sums(pairs: list[Tensor], basis: list[Tensor], shape: Sequence[int]) -> Tensor:
        return pairs[0].new_empty(shape_of(len(pairs[-1]) - 1, shape))

    def room_for_pulls(gradient: Tensor, pairs: list[Tensor], basis: list[Tensor]) -> Tensor:
        return gradient.new_empty(len(gradient), len(pairs[0]), 3)

    def room_for_changes(displacement: Tensor, pairs: list[Tensor], basis: list[Tensor], shape: Sequence[int]) -> Tensor:
        return displacement.new_empty(len(displacement), *shape_of(len(pairs[-1]) - 1, shape))

    def sums(pairs: list[Tensor], basis: list[Tensor], shape: Sequence[int]) -> Tensor:
        return filled(expand, room_for_sums(pairs, basis, shape), pairs, basis)

    def pulls(gradient: Tensor, pairs: list[Tensor], basis: list[Tensor]) -> Tensor:
        return filled(pull_back, room_for_pulls(gradient, pairs, basis), pairs, basis, gradient)

    def changes(displacement: Tensor, pairs: list[Tensor], basis: list[Tensor], shape: Sequence[int]) -> Tensor:
        return filled(change, room_for_changes(displacement, pairs, basis, shape), pairs, basis, displacement)

    return (
        operation(f"{name}_sums(Tensor[] pairs, Tensor[] basis, int[] shape) -> Tensor", sums, room_for_sums),
        operation(f"{name}_pulls(Tensor gradient, Tensor[] pairs, Tensor[] basis) -> Tensor", pulls, room_for_pulls),
        operation(f"{name}_changes(Tensor displacement, Tensor[] pairs, Tensor[] basis, int[] shape) -> Tensor", changes, room_for_changes),
    )


def filled(loop: Loop, outcome: Tensor, pairs: list[Tensor], basis: list[Tensor], *given: Tensor) -> Tensor:
    """The outcome, as a loop over all atoms fills it, which threads share."""
    read = [one.contiguous().numpy() for one in given]
    in_parts(partial(loop, outcome.numpy(), *read, arrays(pairs), arrays(basis)), len(pairs[-1]) - 1)
    return outcome


def pulls_of(
    gradient: Tensor, operations: tuple[Operation, Operation], pairs: list[Tensor], basis: list[Tensor], shape: Sequence[int]
) -> Tensor:
    """∂V/∂r_ij of several energies from ∂V/∂S, by the last two of `operations_of`; differentiable in the latter."""
    pulls: Tensor
    if gradient.requires_grad and torch.is_grad_enabled():
        pulls = _Pulls.apply(gradient, operations, pairs, basis, shape)  # type: ignore[no-untyped-call]  # as torch has it
    else:
        pulls = operations[0](gradient, pairs, basis)
    return pulls


@with_known_signature
class _Pulls(torch.autograd.Function):
    """(∂V/∂S_i) · (∂S_i/∂r_ij) of several energies as a function of ∂V/∂S."""

    @staticmethod
    def forward(
        gradient: Tensor, operations: tuple[Operation, Operation], pairs: list[Tensor], basis: list[Tensor], shape: Sequence[int]
    ) -> Tensor:
        pulls: Tensor = operations[0](gradient, pairs, basis)
        return pulls

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.operations, ctx.pairs, ctx.basis, ctx.shape = inputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.operations[1](grads[0], ctx.pairs, ctx.basis, ctx.shape), None, None, None, None
