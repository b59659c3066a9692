"""One channel per element."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.species_embedding import SpeciesEmbedding
from nnpx.wiring import Wired


@final
class OneHot(SpeciesEmbedding):
    """Every element has a channel of its own: sums over neighbours are resolved by element, as Behler and Parrinello do.

    The number of features grows with the number of elements. Nothing is trained.

    Args:
        numbers: atomic numbers in the order of the species index.
    """

    def __init__(self, *, numbers: Wired[list[int]]) -> None:
        super().__init__()
        self.n_channels = len(numbers)
        self.vectors: Tensor
        self.register_buffer("vectors", torch.eye(len(numbers), dtype=torch.float64), persistent=False)

    def forward(self, species: Int[Tensor, " atom"]) -> Float[Tensor, "atom channel"]:
        """1 in the channel of the element, 0 elsewhere."""
        return self.vectors[species]
