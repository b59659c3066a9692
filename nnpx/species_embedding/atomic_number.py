"""The atomic number itself."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.species_embedding import SpeciesEmbedding
from nnpx.wiring import Wired


@final
class AtomicNumber(SpeciesEmbedding):
    """An element is its nuclear charge: one channel, e = Z, so that heavy neighbours weigh more and features never grow in number.

    Under symmetry functions these are the weights Z_j and Z_j Z_k of Gastegger et al. 2018, doi:10.1063/1.5019667. Nothing is trained.

    Args:
        numbers: atomic numbers in the order of the species index.
    """

    n_channels = 1

    def __init__(self, *, numbers: Wired[list[int]]) -> None:
        super().__init__()
        self.vectors: Tensor
        self.register_buffer("vectors", torch.tensor(numbers, dtype=torch.float64)[:, None], persistent=False)

    def forward(self, species: Int[Tensor, " atom"]) -> Float[Tensor, "atom channel"]:
        """Z."""
        return self.vectors[species]
