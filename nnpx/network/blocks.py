"""What networks with skip paths have in common."""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.network.initial import lecun_normal
from nnpx.network.layers import Activation, activated

#: from the number of a block, its input h and its weights W to what its activation σ reads
Before = Callable[[int, Tensor, Tensor], Tensor]


@final
class Blocks(nn.Module):
    """Residual blocks: each adds a perceptron of one hidden layer to what it is given (He et al. 2016, doi:10.1109/CVPR.2016.90).

        h₀ = x W_in + b_in,   h_k = h_{k−1} + σ(a_k) V_k,   E = h·w + b_out

    The caller makes a_k from h_{k−1} W_k. The path past all blocks is linear, so the energy is the sum of a linear read-out of x and
    of what the blocks add. Weights start as LeCun normals and biases at zero; the last layer is scaled down so that training starts
    near the prior and the reference energies. A bias after V_k would say nothing that b_out and those within a_k do not.

    Args:
        n_inputs: length of x.
        width: length of h.
        n_blocks: number of blocks.
        activation: of `Residual`.
        output_scale: factor on the initial weights of the last layer.
        n_outputs: numbers per atom.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        *,
        n_inputs: int,
        width: int,
        n_blocks: int,
        activation: Activation,
        output_scale: float,
        n_outputs: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.enter = nn.Parameter(lecun_normal((n_inputs, width), n_inputs, generator))
        self.inner, self.outer = (
            nn.ParameterList(nn.Parameter(lecun_normal((width, width), width, generator)) for _ in range(n_blocks)) for _ in range(2)
        )
        self.leave = nn.Parameter(lecun_normal((width, n_outputs), width, generator) * output_scale)
        self.bias = nn.Parameter(torch.zeros(width, dtype=torch.float64))
        self.offset = nn.Parameter(torch.zeros(n_outputs, dtype=torch.float64))
        self.activation = activation

    def forward(self, inputs: Float[Tensor, "atom input"], before: Before) -> Float[Tensor, "atom width"]:
        """What the last block gives, h."""
        signal = torch.addmm(self.bias, inputs, self.enter)
        for k, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            signal = torch.addmm(signal, activated(self.activation, before(k, signal, inner)), outer)
        return signal

    def read(self, signal: Float[Tensor, "atom width"]) -> Float[Tensor, "atom output"]:
        """The outputs, of which every one is a weighted sum of h."""
        return torch.addmm(self.offset, signal, self.leave)
