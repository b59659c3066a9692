"""Layers one after the other, and their derivative written out: for evaluation, where autograd's records take longer than the products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Activation = Literal["tanh", "silu"]


def activated(activation: Activation, signal: Tensor) -> Tensor:
    """σ(z): tanh z, or silu z/(1 + e^{−z})."""
    return torch.tanh(signal) if activation == "tanh" else functional.silu(signal)


def pulled_through(activation: Activation, slopes: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Slopes in σ(z) times σ′(z), from z before and σ(z) after it: one operation of torch's."""
    found: Tensor = torch.ops.aten.tanh_backward(slopes, after) if activation == "tanh" else torch.ops.aten.silu_backward(slopes, before)
    return found


@final
@dataclass(frozen=True)
class Groups:
    """Atoms that share weights: those of one element, or all."""

    counts: list[int]  #: how many atoms each group has
    order: tuple[Int[Tensor, " atom"], Int[Tensor, " atom"]] | None = None  #: the atoms group by group, and the place of each in that order

    @classmethod
    def of(cls, kinds: Int[Tensor, " atom"], n_groups: int) -> "Groups":
        """The atoms of each kind."""
        order = torch.argsort(kinds)
        return cls(torch.bincount(kinds, minlength=n_groups).tolist(), (order, torch.argsort(order)))

    def sorted(self, rows: Float[Tensor, "atom ..."]) -> Float[Tensor, "atom ..."]:
        """One group after the other."""
        return rows if self.order is None else rows.index_select(0, self.order[0])

    def unsorted(self, rows: Float[Tensor, "atom ..."]) -> Float[Tensor, "atom ..."]:
        """In the order of the atoms again."""
        return rows if self.order is None else rows.index_select(0, self.order[1])

    def times(
        self, rows: Float[Tensor, "atom *energy n_in"], weights: Float[Tensor, "group n_in n_out"]
    ) -> Float[Tensor, "atom *energy n_out"]:
        """The rows of each group times its matrix."""
        if len(self.counts) == 1:
            return rows @ weights[0]
        return torch.cat([own @ weight for own, weight in zip(rows.split(self.counts), weights.unbind(), strict=True)])

    def plus_times(
        self, bias: Float[Tensor, "group 1 n_out"], rows: Float[Tensor, "atom n_in"], weights: Float[Tensor, "group n_in n_out"]
    ) -> Float[Tensor, "atom n_out"]:
        """The same and the bias of each group."""
        if len(self.counts) == 1:
            return torch.addmm(bias[0], rows, weights[0])
        parts = zip(bias.unbind(), rows.split(self.counts), weights.unbind(), strict=True)
        return torch.cat([torch.addmm(offset, own, weight) for offset, own, weight in parts])

    def spread(self, values: Float[Tensor, "group ..."]) -> Float[Tensor, "atom ..."]:
        """For every atom what its group has."""
        return torch.cat([value.expand(count, *value.shape) for value, count in zip(values.unbind(), self.counts, strict=True)])


@torch.no_grad()
def layers_with_slopes(
    signal: Float[Tensor, "atom input"],
    energies: Float[Tensor, "energy output"],
    layers: tuple[Sequence[Tensor], Sequence[Tensor]],
    activation: Activation,
    groups: Groups,
) -> tuple[Float[Tensor, "atom output"], Float[Tensor, "energy atom input"]]:
    """W_out σ(… σ(W₁ x + b₁) …) + b_out, and ∂V_m/∂x of V_m = Σ_i v_m · outputs_i; neither can be differentiated.

    Args:
        signal: x.
        energies: v, how much of each output is in each V.
        layers: weights (group, in, out) and biases (group, 1, out).
        activation: σ, of every layer but the last.
        groups: the atoms that share weights.
    """
    *weights, last = layers[0]
    *biases, offset = layers[1]
    after, passed = groups.sorted(signal), []
    for weight, bias in zip(weights, biases, strict=True):
        before = groups.plus_times(bias, after, weight)
        after = activated(activation, before)
        passed.append((weight, before[:, None], after[:, None]))
    back = groups.spread(energies @ last.mT)
    for weight, before, own in reversed(passed):
        back = groups.times(pulled_through(activation, back, before, own), weight.mT)
    return groups.unsorted(groups.plus_times(offset, after, last)), groups.unsorted(back).transpose(0, 1)
