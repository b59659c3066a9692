"""Labels without noise."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.noise import Noise


@final
class NoNoise(Noise):
    """Labels are taken as exact, as those of a converged calculation are; the noise is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.n_outputs = 0

    def forward(self, outputs: Float[Tensor, "atom output"]) -> Float[Tensor, "atom 2"]:
        """NaN: nothing is said about noise."""
        return outputs.new_full((len(outputs), 2), torch.nan)
