"""One network for all elements."""

from itertools import pairwise
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Len
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nnpx.network import Network
from nnpx.network.initial import lecun_normal
from nnpx.network.layers import Activation, Groups, activated, layers_with_slopes
from nnpx.wiring import Wired


@final
class MLP(Network):
    """One perceptron for all elements, which reads what surrounds an atom and what the atom is.

        h₀ = geometry ⊕ chemistry,   h_k = σ(W_k h_{k−1} + b_k),   E_i = W_out h + b_out

    Weights start as LeCun normals and biases at zero; the last layer is scaled down so that training starts near the prior and the
    reference energies.

    Args:
        hidden: widths of the hidden layers.
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
        hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)],
        activation: Activation,
        output_scale: Annotated[float, Gt(0)],
        n_features: Wired[int],
        n_channels: Wired[int],
        n_outputs: Wired[int],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        widths = [n_features + n_channels, *hidden, n_outputs]
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(nn.Parameter(lecun_normal((n_out, n_in), n_in, generator)) for n_in, n_out in pairs)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n_out, dtype=torch.float64)) for _, n_out in pairs)
        self.activation = activation
        with torch.no_grad():
            self.weights[-1].mul_(output_scale)

    def forward(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom output"]:
        """E_i from row i alone; the element is known through its chemistry."""
        return functional.linear(self.last_layer_features(geometry, chemistry, species), self.weights[-1], self.biases[-1])

    def last_layer_features(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom width"]:
        """The activations of the last hidden layer."""
        signal = torch.cat((geometry, chemistry), dim=-1)
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            signal = activated(self.activation, functional.linear(signal, weight, bias))
        return signal

    def with_slopes(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
        energies: Float[Tensor, "energy output"],
    ) -> tuple[Float[Tensor, "atom output"], Float[Tensor, "energy atom feature"]]:
        """The layers with their derivative written out."""
        layers = [weight.mT[None] for weight in self.weights], [bias[None, None] for bias in self.biases]
        signal = torch.cat((geometry, chemistry), dim=-1)
        outputs, slopes = layers_with_slopes(signal, energies, layers, self.activation, Groups([len(signal)]))
        of_geometry = slopes[..., : geometry.shape[1]]
        return outputs, of_geometry if self.training else of_geometry.detach()
