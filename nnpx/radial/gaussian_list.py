"""Gaussians given one by one: the published sets."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Len
from jaxtyping import Float
from torch import Tensor

from nnpx.errors import ConfigError
from nnpx.radial import Radial
from nnpx.radial.bells import bells
from nnpx.radial.gaussian import gaussian_names
from nnpx.units import bohr


@final
class GaussianList(Radial):
    """Distances resolved by bell curves that somebody has chosen and published, pair by pair.

        φ_n(r) = exp(−η_n (r − s_n)²)                                    Behler 2011, doi:10.1063/1.3553717, eq. 7

    Args:
        eta_per_bohr2: the widths η_n, bohr⁻², the unit in which the sets are published.
        shift_bohr: the places s_n, bohr; as many as there are widths.

    Raises:
        ConfigError: the lists differ in length.
    """

    def __init__(
        self,
        *,
        eta_per_bohr2: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        shift_bohr: Annotated[list[Annotated[float, Ge(0)]], Len(1)],
    ) -> None:
        super().__init__()
        if len(eta_per_bohr2) != len(shift_bohr):
            raise ConfigError(
                "radial.shift_bohr",
                expected=f"{len(eta_per_bohr2)} values, one for each value of radial.eta_per_bohr2",
                found=f"{len(shift_bohr)}",
                do="Give the two lists the same length.",
            )
        self.n_functions = len(eta_per_bohr2)
        self.eta: Tensor
        self.shift: Tensor
        self.register_buffer("eta", torch.tensor(list(eta_per_bohr2), dtype=torch.float64) / bohr**2, persistent=False)
        self.register_buffer("shift", torch.tensor(list(shift_bohr), dtype=torch.float64) * bohr, persistent=False)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """exp(−η (r − s)²)."""
        return bells((distance[:, None] - self.shift).square() * -self.eta)

    def names(self) -> list[str]:
        """Width in Å⁻² and place in Å of every function."""
        return gaussian_names(self.eta, self.shift)
