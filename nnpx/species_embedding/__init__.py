"""Species embeddings: the vector of numbers that stands for an element.

Species enters a potential here and nowhere else. The descriptor weights each neighbour by its vector and the network reads the
vector of the central atom. What depends on the elements of both atoms of a pair is the product e_i ⊗ e_j, and belongs to the descriptor:
`moments` has coefficients for it, so that `onehot` gives every pair of elements radial functions of its own, as in NEP, MTP and Gaussian
moments, and `learned` gives as many as there are channels squared. A new one is a subclass of `SpeciesEmbedding`.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn


class SpeciesEmbedding(nn.Module, ABC):
    """Maps the index of a species to its vector. `numbers` (wired) holds the atomic numbers in the order of the index."""

    n_channels: int  #: length of the vector

    @abstractmethod
    def forward(self, species: Int[Tensor, " atom"]) -> Float[Tensor, "atom channel"]:
        """The vector of each atom's element."""
