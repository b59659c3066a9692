"""Networks: from features and species to the energy of an atom.

Locality holds: the energy of an atom depends on its own row and on no other. A new one is a subclass of `Network`.
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
    ) -> Float[Tensor, " atom"]:
        """One dimensionless energy per atom."""
