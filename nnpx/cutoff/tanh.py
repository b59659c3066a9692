"""Behler's hyperbolic-tangent cutoff."""

from typing import Annotated, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff


@final
class Tanh(Cutoff):
    """A cutoff whose second derivative vanishes as well: the cube of a hyperbolic tangent.

        f_c(x) = tanh³(1 − x),   x = r / radius              Behler 2011, doi:10.1063/1.3553717, eq. 6

    This is the published form: it starts at tanh³(1) = 0.4418, not at 1.

    Args:
        radius: cutoff radius, Å.
    """

    smoothness = 2

    def __init__(self, *, radius: Annotated[float, Gt(0)]) -> None:
        super().__init__(radius=radius)

    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """tanh³(1 − x)."""
        return torch.tanh(1.0 - x).pow(3)
