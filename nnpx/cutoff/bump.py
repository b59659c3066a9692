"""The infinitely smooth cutoff."""

from typing import Annotated, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff


@final
class Bump(Cutoff):
    """The bump function of analysis: every derivative vanishes at the radius, so that no order of any expansion sees it.

        f_c(x) = exp(1 − 1 / (1 − x²)),   x = r / radius

    It is also the cutoff of choice for integrators and phonons of high order. It falls earlier than the others: at x = ½ it is 0.72.

    Args:
        radius: cutoff radius, Å.
    """

    smoothness = 8  #: all derivatives vanish; eight are put to the test

    def __init__(self, *, radius: Annotated[float, Gt(0)]) -> None:
        super().__init__(radius=radius)

    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """exp(1 − 1 / (1 − x²))."""
        return torch.exp(1.0 - (1.0 - x * x).reciprocal())
