"""A trained vector per element."""

from typing import Annotated, Final, final

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.species_embedding import SpeciesEmbedding
from nnpx.wiring import Wired

#: the heaviest element that has a name, oganesson
HEAVIEST: Final = 118


@final
class Learned(SpeciesEmbedding):
    """Elements as points in a space of `n_channels` dimensions, placed there by training: alchemical compression.

    The number of features does not grow with the number of elements, and what is learned of one element serves its neighbours in that
    space (Willatt, Musil & Ceriotti 2018, doi:10.1039/C8CP05921G). The start is a standard normal draw for every element of the periodic
    table, so that an element starts at the same point whichever others are present.

    Args:
        n_channels: dimensions of the space.
        numbers: atomic numbers in the order of the species index.
        generator: source of the starting points.
    """

    def __init__(self, *, n_channels: Annotated[int, Ge(1)], numbers: Wired[list[int]], generator: Wired[torch.Generator]) -> None:
        super().__init__()
        self.n_channels = n_channels
        table = torch.randn(HEAVIEST + 1, n_channels, generator=generator, dtype=torch.float64)
        self.vectors = nn.Parameter(table[numbers])

    def forward(self, species: Int[Tensor, " atom"]) -> Float[Tensor, "atom channel"]:
        """The trained vector of the element."""
        return self.vectors[species]
