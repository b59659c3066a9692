"""Gaussians of one width at even distances: the radial functions of ANI and of weighted symmetry functions."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.radial import Radial
from nnpx.radial.bells import bells
from nnpx.radial.gaussian import gaussian_names


@final
class GaussianRow(Radial):
    """Distances resolved by bell curves of one published width at even places.

        φ_n(r) = exp(−η (r − s_n)²),   s_n = first + n spacing,   n = 0 … n_functions − 1       Behler 2011, doi:10.1063/1.3553717, eq. 7

    Args:
        n_functions: how many.
        eta: the width η, Å⁻².
        first: the first place, Å.
        spacing: from one place to the next, Å.
    """

    def __init__(
        self,
        *,
        n_functions: Annotated[int, Ge(1)],
        eta: Annotated[float, Gt(0)],
        first: Annotated[float, Ge(0)],
        spacing: Annotated[float, Gt(0)],
    ) -> None:
        super().__init__()
        self.n_functions = n_functions
        self.eta: Tensor
        self.shift: Tensor
        self.register_buffer("eta", torch.full((n_functions,), eta, dtype=torch.float64), persistent=False)
        self.register_buffer("shift", first + spacing * torch.arange(n_functions, dtype=torch.float64), persistent=False)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """exp(−η (r − s)²)."""
        return bells((distance[:, None] - self.shift).square() * -self.eta)

    def names(self) -> list[str]:
        """Width in Å⁻² and place in Å of every function."""
        return gaussian_names(self.eta, self.shift)
