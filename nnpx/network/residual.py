"""One network for all elements, with skip paths."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.network import Network
from nnpx.network.blocks import Blocks
from nnpx.network.layers import Activation
from nnpx.wiring import Wired


@final
class Residual(Network):
    """A linear model of the features and of the element, to which blocks add what is not linear (He et al. 2016).

        x = geometry ⊕ chemistry,   h₀ = x W_in + b_in
        h_k = h_{k−1} + σ(h_{k−1} W_k + b_k) V_k,   E_i = h·w + b_out               doi:10.1109/CVPR.2016.90

    Weights start as LeCun normals and biases at zero; the last layer is scaled down so that training starts near the prior and the
    reference energies.

    Args:
        width: length of h, the same in all blocks.
        n_blocks: number of blocks, each with one activation.
        activation: tanh, bounded, or silu, x/(1 + e^{−x}), unbounded.
        output_scale: factor on the initial weights of the last layer.
        n_features: length of the geometry.
        n_channels: length of the chemistry.
        n_outputs: numbers per atom.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)],
        n_blocks: Annotated[int, Ge(1)],
        activation: Activation,
        output_scale: Annotated[float, Gt(0)],
        n_features: Wired[int],
        n_channels: Wired[int],
        n_outputs: Wired[int],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.blocks = Blocks(
            n_inputs=n_features + n_channels,
            width=width,
            n_blocks=n_blocks,
            activation=activation,
            output_scale=output_scale,
            n_outputs=n_outputs,
            generator=generator,
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(width, dtype=torch.float64)) for _ in range(n_blocks))

    def forward(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom output"]:
        """E_i from row i alone; the element is known through its chemistry."""
        return self.blocks.read(self.last_layer_features(geometry, chemistry, species))

    def last_layer_features(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom width"]:
        """What the last block gives, h."""
        signal: Tensor = self.blocks(torch.cat((geometry, chemistry), dim=-1), self._biased)
        return signal

    def _biased(self, k: int, signal: Tensor, weight: Tensor) -> Tensor:
        return torch.addmm(self.biases[k], signal, weight)
