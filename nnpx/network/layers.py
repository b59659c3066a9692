"""Layers one after the other, and their derivative written out: for evaluation, where autograd's records take longer than the products."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Activation = Literal["tanh", "silu"]


def activated(activation: Activation, signal: Tensor) -> Tensor:
    """σ(z): tanh z, or silu z/(1 + e^{−z})."""
    return torch.tanh(signal) if activation == "tanh" else functional.silu(signal)


def pulled_through(activation: Activation, slopes: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Slopes (energy, atom, width) in σ(z) times σ′(z), from z before and σ(z) after it (atom, width): one operation of torch's."""
    found: Tensor = torch.ops.aten.tanh_backward(slopes, after) if activation == "tanh" else torch.ops.aten.silu_backward(slopes, before)
    return found


@torch.no_grad()
def linearised_layers(
    signal: Float[Tensor, "atom input"], weights: Sequence[Tensor], biases: Sequence[Tensor], activation: Activation
) -> tuple[Float[Tensor, "atom output"], Callable[[Tensor], Tensor]]:
    """W_out σ(… σ(W₁ x + b₁) …) + b_out, and from slopes (energy, atom, output) in the outputs those in x.

    Neither can be differentiated.

    Args:
        signal: x.
        weights: transposed, (in, out), of every layer.
        biases: of every layer.
        activation: σ, of every layer but the last.
    """
    layers = list(zip(weights, biases, strict=True))
    passed: list[tuple[Tensor, Tensor, Tensor]] = []
    for weight, bias in layers[:-1]:
        before = torch.addmm(bias, signal, weight)
        signal = activated(activation, before)
        passed.append((weight, before, signal))
    last, offset = layers[-1]

    @torch.no_grad()
    def pull(slopes: Float[Tensor, "energy atom output"]) -> Float[Tensor, "energy atom input"]:
        back = slopes @ last.mT
        for weight, before, after in reversed(passed):
            back = pulled_through(activation, back, before, after) @ weight.mT
        return back

    return torch.addmm(offset, signal, last), pull
