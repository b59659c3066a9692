"""Networks: from features and species to the energy of an atom.

Locality holds: the energy of an atom depends on its own row and on no other. One trunk may have several outputs: the heads of a shallow
ensemble, each of which is an energy, and what describes the noise of the labels. A new network is a subclass of `Network`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.derivatives import gradients_of

#: from slopes (energy, atom, output) of several energies in the outputs of a network to those in the geometry (energy, atom, feature)
ToGeometry = Callable[[Float[Tensor, "energy atom output"]], Float[Tensor, "energy atom feature"]]


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

    def linearised(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> tuple[Float[Tensor, "atom output"], ToGeometry]:
        """The outputs, and from slopes in them those in the geometry; neither can be differentiated."""
        variable = geometry.detach().requires_grad_()
        with torch.enable_grad():
            outputs = self(variable, chemistry, species)
        return outputs.detach(), lambda slopes: gradients_of(outputs, (variable,), slopes)[0]
