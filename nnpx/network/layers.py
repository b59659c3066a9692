"""Layers one after the other, and their first and second derivative written out: autograd's records take longer than the products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from nnpx.derivatives import refuse_further_derivatives
from nnpx.speed.compiled import with_known_signature

Activation = Literal["tanh", "silu"]


def activated(activation: Activation, signal: Tensor) -> Tensor:
    """σ(z): tanh z, or silu z/(1 + e^{−z})."""
    return torch.tanh(signal) if activation == "tanh" else functional.silu(signal)


def pulled_through(activation: Activation, slopes: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Slopes in σ(z) times σ′(z), from z before and σ(z) after it: one operation of torch's."""
    found: Tensor = torch.ops.aten.tanh_backward(slopes, after) if activation == "tanh" else torch.ops.aten.silu_backward(slopes, before)
    return found


def bent_by(activation: Activation, values: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Values times σ″(z), from z before and σ(z) after it."""
    if activation == "tanh":
        return pulled_through("tanh", values, before, after) * (-2.0 * after)
    gate = torch.sigmoid(before)
    bend: Tensor = torch.ops.aten.sigmoid_backward(values, gate)
    return bend * (2.0 + before * (1.0 - 2.0 * gate))


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

    def sums(self, rows: Float[Tensor, "atom *energy n"]) -> Float[Tensor, "group *energy n"]:
        """Over the atoms of each group."""
        return torch.stack([own.sum(0) for own in rows.split(self.counts)])

    def transposed_products(self, *pairs: tuple[Tensor, Tensor]) -> Float[Tensor, "group n_in n_out"]:
        """Σ aᵀ b over the atoms of each group, over their energies where there are several, and over pairs (atom *energy n) of a and b."""
        (left, right), *others = pairs
        total = left.new_empty(len(self.counts), left.shape[-1], right.shape[-1])
        for group, one, other in zip(total.unbind(), left.split(self.counts), right.split(self.counts), strict=True):
            torch.mm(one.flatten(0, -2).mT, other.flatten(0, -2), out=group)
        for left, right in others:
            for group, one, other in zip(total.unbind(), left.split(self.counts), right.split(self.counts), strict=True):
                group.addmm_(one.flatten(0, -2).mT, other.flatten(0, -2))
        return total


class _Hidden(NamedTuple):
    """What a hidden layer x = σ(z), z = x₀ W + b, has made of the atoms, and of the slopes on the way back."""

    entered: Float[Tensor, "atom n_in"]  #: x₀
    before: Float[Tensor, "atom n_out"]  #: z
    after: Float[Tensor, "atom n_out"]  #: x
    arrived: Float[Tensor, "atom energy n_out"]  #: ∂V/∂x
    passed: Float[Tensor, "atom energy n_out"]  #: ∂V/∂z = σ′(z) ∂V/∂x


def layers_with_slopes(
    signal: Float[Tensor, "atom input"],
    energies: Float[Tensor, "energy output"],
    layers: tuple[Sequence[Tensor], Sequence[Tensor]],
    activation: Activation,
    groups: Groups,
) -> tuple[Float[Tensor, "atom output"], Float[Tensor, "energy atom input"]]:
    """W_out σ(… σ(W₁ x + b₁) …) + b_out, and ∂V_m/∂x of V_m = Σ_i v_m · outputs_i; both can be differentiated once, but for v.

    Args:
        signal: x.
        energies: v, how much of each output is in each V.
        layers: weights (group, in, out) and biases (group, 1, out).
        activation: σ, of every layer but the last.
        groups: the atoms that share weights.
    """
    if not torch.is_grad_enabled():
        outputs, slopes, _ = _forth_and_back(groups.sorted(signal), energies, layers, activation, groups)
    else:
        given = groups.sorted(signal), energies, activation, groups
        outputs, slopes = _Layers.apply(*given, *layers[0], *layers[1])  # type: ignore[no-untyped-call]  # as torch has it
    return groups.unsorted(outputs), groups.unsorted(slopes).transpose(0, 1)


def _forth_and_back(
    signal: Float[Tensor, "atom input"],
    energies: Float[Tensor, "energy output"],
    layers: tuple[Sequence[Tensor], Sequence[Tensor]],
    activation: Activation,
    groups: Groups,
) -> tuple[Float[Tensor, "atom output"], Float[Tensor, "atom energy input"], list[_Hidden]]:
    """Outputs and slopes of atoms that are sorted by their groups, and what the hidden layers made of them."""
    *weights, last = layers[0]
    *biases, offset = layers[1]
    after, forth, hidden = signal, [], []
    for weight, bias in zip(weights, biases, strict=True):
        entered, before = after, groups.plus_times(bias, after, weight)
        after = activated(activation, before)
        forth.append((entered, before, after))
    back = groups.spread(energies @ last.mT)
    for weight, (entered, before, own) in zip(reversed(weights), reversed(forth), strict=True):
        passed = pulled_through(activation, back, before[:, None], own[:, None])
        hidden.append(_Hidden(entered, before, own, back, passed))
        back = groups.times(passed, weight.mT)
    return groups.plus_times(offset, after, last), back, hidden[::-1]


@with_known_signature
class _Layers(torch.autograd.Function):
    """`_forth_and_back` and its derivative, from that of a loss in outputs and in ∂V/∂x₀; a bar is for the derivative of the loss.

    up, through the slopes:    s̄ = (∂V/∂x₀)‾ W,   (∂V/∂x)‾ = σ′ s̄,   z̄ = σ″ Σ_m s̄ ∂V_m/∂x,   s = ∂V/∂z
    down, through the layers:  z̄ += σ′ x̄,   x̄₀ = z̄ Wᵀ,   W̄ = x₀ᵀ z̄ + (∂V/∂x₀)‾ᵀ s,   b̄ = Σ z̄
    """

    @staticmethod
    def forward(
        ctx: Any, signal: Tensor, energies: Tensor, activation: Activation, groups: Groups, *layers: Tensor
    ) -> tuple[Tensor, Tensor]:
        half = len(layers) // 2
        outputs, slopes, hidden = _forth_and_back(signal, energies, (layers[:half], layers[half:]), activation, groups)
        ctx.save_for_backward(energies, signal, *layers[:half], *(part for layer in hidden for part in layer))
        ctx.activation, ctx.groups, ctx.n_hidden = activation, groups, len(hidden)
        return outputs, slopes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        refuse_further_derivatives("outputs of layers with their slopes")
        groups, activation, n_hidden, (energies, signal, *kept) = ctx.groups, ctx.activation, ctx.n_hidden, ctx.saved_tensors
        (*weights, last), parts = kept[: n_hidden + 1], kept[n_hidden + 1 :]
        hidden = [_Hidden(*parts[k : k + len(_Hidden._fields)]) for k in range(0, len(parts), len(_Hidden._fields))]
        read, (of_outputs, up) = hidden[-1].after if hidden else signal, grads
        rising, bends = [], []
        for weight, layer in zip(weights, hidden, strict=True):
            rising.append(up)
            through = groups.times(up, weight)
            bends.append(bent_by(activation, (through * layer.arrived).sum(1), layer.before, layer.after))
            up = pulled_through(activation, through, layer.before[:, None], layer.after[:, None])
        of_weights = [groups.transposed_products((read, of_outputs)).add_(groups.sums(up).mT @ energies)]
        of_biases, down = [groups.sums(of_outputs)[:, None]], groups.times(of_outputs, last.mT)
        for weight, layer, above, bend in zip(reversed(weights), reversed(hidden), reversed(rising), reversed(bends), strict=True):
            of_before = bend.add_(pulled_through(activation, down, layer.before, layer.after))
            of_weights.append(groups.transposed_products((layer.entered, of_before), (above, layer.passed)))
            of_biases.append(groups.sums(of_before)[:, None])
            down = groups.times(of_before, weight.mT) if weight is not weights[0] or ctx.needs_input_grad[0] else None
        return down, None, None, None, *reversed(of_weights), *reversed(of_biases)
