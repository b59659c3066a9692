"""Chebyshev polynomials of a stretched distance."""

from typing import Annotated, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from nnpx.radial import Radial
from nnpx.wiring import Wired


@final
class Chebyshev(Radial):
    """Distances resolved by polynomials that oscillate faster near the atom, where energies change faster.

        φ_k(r) = ½ (T_k(y) + 1),   y = 2 (r/r_c − 1)² − 1,   k = 0 … n_functions − 1

    T_k is the Chebyshev polynomial of the first kind, and 0 ≤ φ_k ≤ 1. The radial functions of the neuroevolution potential:
    Fan et al. 2021, doi:10.1103/PhysRevB.104.104309, eq. 5.

    Args:
        n_functions: how many polynomials, the constant included.
        cutoff_radius: r_c, Å.
    """

    def __init__(self, *, n_functions: Annotated[int, Ge(1)], cutoff_radius: Wired[float]) -> None:
        super().__init__()
        self.n_functions = n_functions
        self.cutoff_radius = cutoff_radius

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """½ (T_k(y) + 1) by the recurrence T_{k+1} = 2y T_k − T_{k−1}."""
        y = 2.0 * (distance / self.cutoff_radius - 1.0).square() - 1.0
        polynomials = [torch.ones_like(y), y]
        twice = 2.0 * y
        while len(polynomials) < self.n_functions:
            polynomials.append(twice * polynomials[-1] - polynomials[-2])
        return 0.5 * torch.stack(polynomials[: self.n_functions], dim=-1) + 0.5

    def names(self) -> list[str]:
        """The degree of each polynomial."""
        return [f"chebyshev k={k}" for k in range(self.n_functions)]
