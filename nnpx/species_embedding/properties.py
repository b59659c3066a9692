"""Elements by their chemistry."""

from typing import Annotated, final

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.species_embedding import SpeciesEmbedding
from nnpx.species_embedding.periodic_table import standardised_properties
from nnpx.wiring import Wired


@final
class Properties(SpeciesEmbedding):
    """An element is what the periodic table says of it: electronegativity, covalent radius, period, group, valence electrons.

    Each property has mean 0 and variance 1 over hydrogen to plutonium, so that chemically similar elements start close together and an
    element with few structures profits from its relatives. `n_channels` mixes the five by a trained matrix, drawn with variance 1/5;
    without it they are used as they are and nothing is trained.

    Args:
        n_channels: rows of the trained matrix, or null for the five properties themselves.
        numbers: atomic numbers in the order of the species index.
        generator: source of the starting matrix.

    Raises:
        SpeciesError: an element is heavier than plutonium.
    """

    def __init__(self, *, n_channels: Annotated[int, Ge(1)] | None, numbers: Wired[list[int]], generator: Wired[torch.Generator]) -> None:
        super().__init__()
        table = standardised_properties(numbers)
        self.table: Tensor
        self.register_buffer("table", table, persistent=False)
        self.mixing: nn.Parameter | None = None
        self.n_channels = table.shape[1]
        if n_channels is not None:
            start = torch.randn(table.shape[1], n_channels, generator=generator, dtype=torch.float64) / table.shape[1] ** 0.5
            self.mixing, self.n_channels = nn.Parameter(start), n_channels

    def forward(self, species: Int[Tensor, " atom"]) -> Float[Tensor, "atom channel"]:
        """The five properties, or their trained mixtures."""
        vectors = self.table if self.mixing is None else self.table @ self.mixing
        return vectors[species]
