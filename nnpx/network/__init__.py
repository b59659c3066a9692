"""Networks: from features and species to the energy of an atom.

Locality holds: the energy of an atom depends on its own row and on no other. One trunk may have several outputs: the heads of a shallow
ensemble, each of which is an energy, and what describes the noise of the labels. A new network is a subclass of `Network`.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.derivatives import gradients_of


class Network(nn.Module, ABC):
    """E_i as a function of the features of atom i and of its element; in units of the potential's energy scale."""

    @abstractmethod
    def forward(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom output"]:
        """The outputs of every atom, dimensionless: at first energies, one for each head."""

    @abstractmethod
    def last_layer_features(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom width"]:
        """What the last layer reads of every atom: the outputs are linear in it."""

    def with_slopes(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
        energies: Float[Tensor, "energy output"],
    ) -> tuple[Float[Tensor, "atom output"], Float[Tensor, "energy atom feature"]]:
        """The outputs, and the slopes in the geometry of energies that are sums of them.

        Within `torch.no_grad` neither can be differentiated, and slopes can in training mode only.

        Args:
            geometry: as in `forward`.
            chemistry: likewise.
            species: likewise.
            energies: v, how much of each output is in each V_m = Σ_i v_m · outputs_i. The slopes cannot be differentiated in it.
        """
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            variable = geometry if recorded and geometry.requires_grad else geometry.detach().requires_grad_()
            outputs = self(variable, chemistry, species)
            each = energies[:, None].expand(-1, len(outputs), -1)
            (slopes,) = gradients_of(outputs, (variable,), each, create_graph=recorded and self.training)
        return outputs if recorded else outputs.detach(), slopes
