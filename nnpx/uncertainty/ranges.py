"""The ground that a potential knows: the values that every feature of its descriptor had in training."""

from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: of a width: features in single precision are this far from those in double
ROUNDING: Final = 1e-3


@final
@dataclass(frozen=True)
class Ranges:
    """Smallest and largest value of every feature over the training environments of each element.

    Outside of them a network extrapolates, whatever its members say: Behler 2015, doi:10.1002/qua.24890. Inside it may extrapolate too, in
    directions in which features vary together.

    Args:
        low: smallest values; infinite for an element without environments.
        high: largest values; minus infinity for an element without environments.
    """

    low: Float[Tensor, "species feature"]
    high: Float[Tensor, "species feature"]

    @classmethod
    def empty(cls, n_species: int, n_features: int) -> "Ranges":
        """Those of no environments."""
        low = torch.full((n_species, n_features), torch.inf, dtype=torch.float64)
        return cls(low, -low)

    def including(self, features: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"]) -> "Ranges":
        """Those of these environments as well."""
        index = species[:, None].expand_as(features)
        low = self.low.scatter_reduce(0, index, features.double(), "amin")
        return Ranges(low, self.high.scatter_reduce(0, index, features.double(), "amax"))

    def excess(
        self, features: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"], width: Float[Tensor, "species feature"]
    ) -> Float[Tensor, "atom feature"]:
        """How far beyond its range each feature lies, in the width that divides it; 0 within, and where rounding may have done it."""
        low, high = self.low.to(features)[species], self.high.to(features)[species]
        beyond = torch.maximum(low - features, features - high) / width[species]
        return torch.where(beyond > ROUNDING, beyond, 0.0)
