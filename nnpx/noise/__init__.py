"""Noise of the labels: how far a label lies from the truth by chance (aleatoric uncertainty), as that of a quantum Monte Carlo energy does.

More data average it out of the energy surface, but out of no label; the spread of an ensemble (epistemic uncertainty) says what more data
would teach. Both are predicted apart and never added up by the potential. A new description is a subclass of `Noise`.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Noise(nn.Module, ABC):
    """Variances of the labels as a function of what the network says beside the energies."""

    n_outputs: int  #: outputs of the network that it reads

    @abstractmethod
    def forward(self, outputs: Float[Tensor, "atom output"]) -> Float[Tensor, "atom 2"]:
        """What an atom adds to the variance of the energy, and the variance of its force components; NaN where neither is described.

        Both in units of the potential's energy scale squared (and per Å²).
        """
