"""Radial functions φ_n(r): how an environment is resolved in distance.

They are smooth, finite at r → 0 and carry no cutoff: the descriptor multiplies them by f_c(r). A new set is a subclass of `Radial`.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Radial(nn.Module, ABC):
    """A set of radial functions φ_n(r), n = 1 … n_functions."""

    n_functions: int  #: number of functions

    @abstractmethod
    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """φ_n(r) for distances in Å."""

    @abstractmethod
    def names(self) -> list[str]:
        """One short name per function with its parameters, in Å: `gaussian eta=4.00 shift=0.00`."""
