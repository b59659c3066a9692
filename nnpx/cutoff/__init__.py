"""Cutoff functions f_c(r): what makes an atom's energy local and smooth.

f_c falls from 1 at r = 0 to 0 at the cutoff radius together with a promised number of derivatives, so that an atom that
crosses the radius changes neither the energy nor the forces abruptly. A new one is a subclass of `Cutoff` that writes `envelope`.
"""

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Cutoff(nn.Module, ABC):
    """f_c(r) = envelope(r / radius) inside the radius, 0 outside.

    Args:
        radius: cutoff radius, Å.
    """

    smoothness: int  #: number of derivatives that vanish at the radius, besides the value

    def __init__(self, *, radius: float) -> None:
        super().__init__()
        self.radius = radius

    @abstractmethod
    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """f_c as a function of x = r / radius, for 0 ≤ x < 1."""

    @final  # type: ignore[misc]  # for torch `forward` is an attribute
    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """f_c(r) for distances in Å."""
        x = distance / self.radius
        inside = x < 1.0
        return torch.where(inside, self.envelope(torch.where(inside, x, torch.zeros_like(x))), torch.zeros_like(x))
