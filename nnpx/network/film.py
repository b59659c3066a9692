"""One network for all elements, tuned by the element in every block."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nnpx.network import Network
from nnpx.network.blocks import Before, Blocks
from nnpx.network.layers import Activation
from nnpx.wiring import Wired


@final
class Film(Network):
    """Residual blocks whose activations the element scales and shifts: feature-wise linear modulation.

        h₀ = geometry W_in + b_in,   γ_k = c_k + e_z Γ_k,   β_k = b_k + e_z B_k
        h_k = h_{k−1} + σ(γ_k ∘ (h_{k−1} W_k) + β_k) V_k,   E_i = h·w + b_out      Perez et al. 2018, arXiv:1709.07871

    All elements share the weights; an element's own part of them is a gain and a threshold per activation, linear in its chemistry
    e_z. It enters in no other way. c starts at one, and Γ, b and B at zero, where γ = 1 and β = 0: training begins with one network
    for all elements. Weights start as LeCun normals; the last layer is scaled down so that training starts near the prior and the
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
            n_inputs=n_features,
            width=width,
            n_blocks=n_blocks,
            activation=activation,
            output_scale=output_scale,
            n_outputs=n_outputs,
            generator=generator,
        )
        self.n_blocks = n_blocks
        # the rows of all γ, then those of all β
        self.slope = nn.Parameter(torch.zeros(2 * n_blocks * width, n_channels, dtype=torch.float64))
        self.start = nn.Parameter(torch.ones(2 * n_blocks * width, dtype=torch.float64))
        with torch.no_grad():
            self.start[n_blocks * width :] = 0.0

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
        signal: Tensor = self.blocks(geometry, self._modulated(chemistry))
        return signal

    def _modulated(self, chemistry: Float[Tensor, "atom channel"]) -> Before:
        modulation = functional.linear(chemistry, self.slope, self.start).chunk(2 * self.n_blocks, dim=-1)
        gain, shift = modulation[: self.n_blocks], modulation[self.n_blocks :]
        return lambda k, signal, weight: torch.addcmul(shift[k], gain[k], signal @ weight)
