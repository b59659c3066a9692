"""Behler's cosine cutoff."""

import math
from typing import Annotated, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff


@final
class Cosine(Cutoff):
    """The cutoff of the first neural network potentials: half a cosine wave.

        f_c(x) = ½ (1 + cos πx),   x = r / radius            Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401

    The force is continuous at the radius, its slope is not.

    Args:
        radius: cutoff radius, Å.
    """

    smoothness = 1

    def __init__(self, *, radius: Annotated[float, Gt(0)]) -> None:
        super().__init__(radius=radius)

    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """½ (1 + cos πx)."""
        return 0.5 + 0.5 * torch.cos(math.pi * x)
