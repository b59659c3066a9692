"""Spherical Bessel functions of order zero."""

import math
from typing import Annotated, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from nnpx.radial import Radial
from nnpx.wiring import Wired


@final
class Bessel(Radial):
    """Distances resolved by the standing waves of a particle in a spherical box of the size of the cutoff.

        φ_k(r) = k^{−p} √(2/r_c) sin(kπr/r_c) / r,   k = 1 … n_functions     Gasteiger et al. 2020, arXiv:2003.03123, eq. 7, for p = 0

    There they are orthonormal on the ball. With p > 0 short waves are smaller, so that what is learned prefers smooth functions of the
    distance: p = 1 makes all slopes alike. Finite at the origin: φ_k(0) = k^{1−p} √(2/r_c) π/r_c, in Å^{−3/2}.

    Args:
        n_functions: how many waves; the shortest wavelength is 2 r_c / n_functions.
        smoothness: p; 0 where a descriptor learns no radial functions, as small features would be lost. `soap` does not depend on it.
        cutoff_radius: r_c, Å.
    """

    def __init__(self, *, n_functions: Annotated[int, Ge(1)], smoothness: Annotated[float, Ge(0)], cutoff_radius: Wired[float]) -> None:
        super().__init__()
        self.n_functions = n_functions
        self.frequency: Tensor
        self.height: Tensor
        k = torch.arange(1, n_functions + 1, dtype=torch.float64)
        self.register_buffer("frequency", k / cutoff_radius, persistent=False)
        self.register_buffer("height", k ** (1.0 - smoothness) * math.sqrt(2.0 / cutoff_radius) * math.pi / cutoff_radius, persistent=False)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """k^{−p} √(2/r_c) (kπ/r_c) sinc(kr/r_c)."""
        return torch.sinc(distance[:, None] * self.frequency) * self.height

    def names(self) -> list[str]:
        """The number of each wave and its radial wavelength in Å."""
        return [f"bessel k={k + 1} wavelength={2.0 / f:.3f}" for k, f in enumerate(self.frequency.tolist())]
