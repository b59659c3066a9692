"""How energies pull at the pairs of atoms, by the derivatives of features: Σ_f (∂E/∂G_if) (∂G_if/∂r_ij).

A feature feels only some neighbours, a symmetry function those of its own two elements. Derivatives that are zero for all neighbours of an
element are left out here: for symmetry functions of four elements six of ten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.speed.compiled import with_known_signature
from nnpx.speed.loops import Loop


@dataclass(frozen=True)
class Pairs:
    """Where the derivatives of each pair stand, and of which features they are."""

    jacobian: Float[Tensor, "place 3 kept"]  #: of the whole set
    place: Int[Tensor, " edge"]
    center: Int[Tensor, " edge"]
    kind: Int[Tensor, " edge"]  #: species of the neighbour
    felt: Int[Tensor, "species kept"]  #: features that feel a neighbour of each species
    n_atoms: int
    n_features: int

    @property
    def column(self) -> Int[Tensor, "edge kept"]:
        """The features that feel each pair, counted through all centres."""
        return self.center[:, None] * self.n_features + self.felt.index_select(0, self.kind)


def pull_at_pairs(slopes: Float[Tensor, "atom energy feature"], pairs: Pairs) -> Float[Tensor, "edge energy 3"]:
    """∂E/∂r_ij of several energies with slopes ∂E/∂G; differentiable in these."""
    of_pairs: Tensor = _Pulls.apply(slopes, pairs)  # type: ignore[no-untyped-call]  # as torch has it
    return of_pairs


@with_known_signature
class _Pulls(torch.autograd.Function):
    """(∂E/∂G_i) · (∂G_i/∂r_ij) for every pair and several energies E."""

    @staticmethod
    def forward(slopes: Tensor, pairs: Pairs) -> Tensor:
        return pulls_one_by_one(slopes, pairs) if slopes.device.type == "cpu" else pulls_at_once(slopes, pairs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Pairs], output: Tensor) -> None:
        ctx.pairs = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slopes: Tensor = _Slopes.apply(grads[0], ctx.pairs)  # type: ignore[no-untyped-call]  # as torch has it
        return slopes, None


@with_known_signature
class _Slopes(torch.autograd.Function):
    """The adjoint of `pull_at_pairs`: from the pairs back to the features."""

    @staticmethod
    def forward(pulls: Tensor, pairs: Pairs) -> Tensor:
        return slopes_one_by_one(pulls, pairs) if pulls.device.type == "cpu" else slopes_at_once(pulls, pairs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Pairs], output: Tensor) -> None:
        ctx.pairs = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return pull_at_pairs(grads[0], ctx.pairs), None


def pulls_at_once(slopes: Float[Tensor, "atom energy feature"], pairs: Pairs) -> Float[Tensor, "edge energy 3"]:
    """Σ_f (∂E/∂G_if) (∂G_if/∂r_ij) in a few operations on a copy of the derivatives: what a GPU is good at."""
    column = pairs.column
    of_pairs = slopes.transpose(0, 1).flatten(1).index_select(1, column.flatten()).view(slopes.shape[1], *column.shape)
    return torch.bmm(of_pairs.transpose(0, 1), pairs.jacobian.index_select(0, pairs.place).mT)


def slopes_at_once(pulls: Float[Tensor, "edge energy 3"], pairs: Pairs) -> Float[Tensor, "atom energy feature"]:
    """Σ_j p_ij · (∂G_if/∂r_ij), likewise."""
    each = torch.bmm(pulls, pairs.jacobian.index_select(0, pairs.place)).transpose(0, 1).flatten(1)
    slopes = pulls.new_zeros(pulls.shape[1], pairs.n_atoms * pairs.n_features).index_add(1, pairs.column.flatten(), each)
    return slopes.view(len(slopes), pairs.n_atoms, pairs.n_features).transpose(0, 1).contiguous()


def pulls_one_by_one(slopes: Float[Tensor, "atom energy feature"], pairs: Pairs) -> Float[Tensor, "edge energy 3"]:
    """As `pulls_at_once`, pair by pair where the derivatives lie: what a processor is good at."""
    return _pair_by_pair(_add_pulls, slopes, pairs, slopes.new_empty(len(pairs.place), slopes.shape[1], 3))


def slopes_one_by_one(pulls: Float[Tensor, "edge energy 3"], pairs: Pairs) -> Float[Tensor, "atom energy feature"]:
    """As `slopes_at_once`, likewise."""
    return _pair_by_pair(_add_slopes, pulls, pairs, pulls.new_zeros(pairs.n_atoms, pulls.shape[1], pairs.n_features))


def _pair_by_pair(loop: Callable[..., None], given: Tensor, pairs: Pairs, outcome: Tensor) -> Tensor:
    """What the loop makes of all pairs."""
    arrays = tuple(one.numpy() for one in (pairs.jacobian, pairs.place, pairs.center, pairs.kind, pairs.felt))
    loop(given.detach().contiguous().numpy(), arrays, outcome.numpy())
    return outcome


@Loop
def _add_pulls(slopes: np.ndarray, pairs: tuple[np.ndarray, ...], pulls: np.ndarray) -> None:
    jacobian, place, center, kind, felt = pairs
    n_energies, n_kept = pulls.shape[1], felt.shape[1]
    own, of_center = np.empty((len(felt), n_energies, n_kept), slopes.dtype), np.full(len(felt), -1)
    for edge in range(len(place)):
        k, i = kind[edge], center[edge]
        if of_center[k] != i:  # the slopes that its neighbours of this species feel
            of_center[k] = i
            for energy in range(n_energies):
                for f in range(n_kept):
                    own[k, energy, f] = slopes[i, energy, felt[k, f]]
        by_x, by_y, by_z = jacobian[place[edge], 0], jacobian[place[edge], 1], jacobian[place[edge], 2]
        for energy in range(n_energies):
            slope, x, y, z = own[k, energy], pulls.dtype.type(0), pulls.dtype.type(0), pulls.dtype.type(0)
            for f in range(n_kept):
                x += slope[f] * by_x[f]
                y += slope[f] * by_y[f]
                z += slope[f] * by_z[f]
            pulls[edge, energy, 0], pulls[edge, energy, 1], pulls[edge, energy, 2] = x, y, z


@Loop
def _add_slopes(pulls: np.ndarray, pairs: tuple[np.ndarray, ...], slopes: np.ndarray) -> None:
    jacobian, place, center, kind, felt = pairs
    n_energies, n_kept = pulls.shape[1], felt.shape[1]
    own = np.zeros((len(felt), n_energies, n_kept), pulls.dtype)
    for edge in range(len(place)):
        by_x, by_y, by_z = jacobian[place[edge], 0], jacobian[place[edge], 1], jacobian[place[edge], 2]
        for energy in range(n_energies):
            slope, (x, y, z) = own[kind[edge], energy], pulls[edge, energy]
            for f in range(n_kept):
                slope[f] += x * by_x[f] + y * by_y[f] + z * by_z[f]
        if edge + 1 == len(place) or center[edge + 1] != center[edge]:  # the last of its centre
            for k in range(len(felt)):
                for energy in range(n_energies):
                    for f in range(n_kept):
                        slopes[center[edge], energy, felt[k, f]] += own[k, energy, f]
            own[:] = 0.0
