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

        φ_k(r) = √(2/r_c) sin(kπr/r_c) / r,   k = 1 … n_functions       Gasteiger et al. 2020, arXiv:2003.03123, eq. 7

    They are orthonormal on the ball and finite at the origin: φ_k(0) = √(2/r_c) kπ/r_c, in Å^{−3/2}.

    Args:
        n_functions: how many waves; the shortest wavelength is 2 r_c / n_functions.
        cutoff_radius: r_c, Å.
    """

    def __init__(self, *, n_functions: Annotated[int, Ge(1)], cutoff_radius: Wired[float]) -> None:
        super().__init__()
        self.n_functions = n_functions
        self.frequency: Tensor
        self.height: Tensor
        waves = torch.arange(1, n_functions + 1, dtype=torch.float64) / cutoff_radius
        self.register_buffer("frequency", waves, persistent=False)
        self.register_buffer("height", math.sqrt(2.0 / cutoff_radius) * math.pi * waves, persistent=False)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """√(2/r_c) (kπ/r_c) sinc(kr/r_c)."""
        return torch.sinc(distance[:, None] * self.frequency) * self.height

    def names(self) -> list[str]:
        """The number of each wave and its radial wavelength in Å."""
        return [f"bessel k={k + 1} wavelength={2.0 / f:.3f}" for k, f in enumerate(self.frequency.tolist())]
