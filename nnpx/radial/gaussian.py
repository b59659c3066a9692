"""Gaussians on a grid: Behler's radial functions with the published automatic recipes."""

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.errors import ConfigError
from nnpx.radial import Radial
from nnpx.radial.bells import bells
from nnpx.wiring import Wired

Recipe = Literal["gastegger_centred", "gastegger_shifted", "imbalzano_centred", "imbalzano_shifted"]


@final
class Gaussian(Radial):
    """Distances resolved by bell curves whose places and widths a recipe lays out between `r_min` and the cutoff.

        φ_n(r) = exp(−η_n (r − s_n)²)                                    Behler 2011, doi:10.1063/1.3553717, eq. 7

    With N = n_functions, cutoff radius r_c and m the running index:

        gastegger_centred   η = 1/(2 r_m²),  s = 0,    r_m even between r_min and r_c
        gastegger_shifted   η = 1/(2 Δ²),    s = r_m,  Δ the spacing of the r_m      doi:10.1063/1.5019667
        imbalzano_centred   η = (n^{m/n}/r_c)²,  s = 0,  n = N − 1,  m = 0 … n
        imbalzano_shifted   s_m = r_c N^{−m/N},  η_m = 1/(s_{m−1} − s_m)²,  m = 1 … N   doi:10.1063/1.5024611

    Args:
        recipe: which of the four.
        n_functions: N, at least 2.
        r_min: the shortest distance to resolve, Å; used by the two Gastegger recipes.
        cutoff_radius: r_c, Å.

    Raises:
        ConfigError: `r_min` is not below the cutoff.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        n_functions: Annotated[int, Ge(2)],
        r_min: Annotated[float, Gt(0)],
        cutoff_radius: Wired[float],
    ) -> None:
        super().__init__()
        if r_min >= cutoff_radius:
            raise ConfigError(
                "radial.r_min",
                expected=f"less than cutoff.radius = {cutoff_radius} Å",
                found=f"{r_min} Å",
                do="Lower radial.r_min or raise cutoff.radius.",
            )
        eta, shift = recipe_parameters(recipe, n_functions, r_min, cutoff_radius)
        self.n_functions = n_functions
        self.eta: Tensor
        self.shift: Tensor
        self.register_buffer("eta", torch.tensor(eta, dtype=torch.float64), persistent=False)
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64), persistent=False)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """exp(−η (r − s)²)."""
        return bells((distance[:, None] - self.shift).square() * -self.eta)

    def names(self) -> list[str]:
        """Width in Å⁻² and place in Å of every function."""
        return gaussian_names(self.eta, self.shift)


def recipe_parameters(recipe: Recipe, n_functions: int, r_min: float, cutoff_radius: float) -> tuple[list[float], list[float]]:
    """Widths η (Å⁻²) and places s (Å) of one recipe."""
    spacing = (cutoff_radius - r_min) / (n_functions - 1)
    grid = [r_min + m * spacing for m in range(n_functions)]
    if recipe == "gastegger_centred":
        return [0.5 / r**2 for r in grid], [0.0] * n_functions
    if recipe == "gastegger_shifted":
        return [0.5 / spacing**2] * n_functions, grid
    if recipe == "imbalzano_centred":
        n = n_functions - 1
        return [(n ** (m / n) / cutoff_radius) ** 2 for m in range(n_functions)], [0.0] * n_functions
    place = [cutoff_radius * n_functions ** (-m / n_functions) for m in range(n_functions + 1)]
    return [1.0 / (place[m - 1] - place[m]) ** 2 for m in range(1, n_functions + 1)], place[1:]


def gaussian_names(eta: Float[Tensor, " radial"], shift: Float[Tensor, " radial"]) -> list[str]:
    """`gaussian eta=4.0000 shift=0.000`, in Å⁻² and Å."""
    return [f"gaussian eta={e:.4f} shift={s:.3f}" for e, s in zip(eta.tolist(), shift.tolist(), strict=True)]
