"""Networks: from features and species to the energy of an atom.

Locality holds: the energy of an atom depends on its own row and on no other. One trunk may have several outputs: the heads of a shallow
ensemble, each of which is an energy, and what describes the noise of the labels. A new network is a subclass of `Network`.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn


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
