"""Noise that depends on the structure."""

from typing import Annotated, final

from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from nnpx.noise import Noise


@final
class Heteroscedastic(Noise):
    """Each atom adds a variance to that of the energy, and has one for the components of its force: both depend on its environment.

        σ_V² = s² Σ_i [ softplus(a_i) + σ₀² ],   σ_Fi² = (s/Å)² [ softplus(b_i) + σ₀² ],   a_i, b_i: outputs of the network
        softplus(x) = ln(1 + eˣ),   s the energy scale             Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138

    The noise of atoms is taken as independent, so that variances add and two distant molecules have the sum of theirs. It is fitted by a
    likelihood (`loss=nll`) or by `loss=crps`. An ensemble averages the variances of its members.

    Args:
        smallest: σ₀, so that no label counts as exact, in units of s and of s/Å.
    """

    def __init__(self, *, smallest: Annotated[float, Gt(0)]) -> None:
        super().__init__()
        self.n_outputs, self.smallest = 2, smallest

    def forward(self, outputs: Float[Tensor, "atom output"]) -> Float[Tensor, "atom 2"]:
        """Positive variances."""
        return functional.softplus(outputs) + self.smallest**2
