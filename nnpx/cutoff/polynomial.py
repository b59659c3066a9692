"""The polynomial envelope of directional message passing."""

from typing import Annotated, final

from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff


@final
class Polynomial(Cutoff):
    """The lowest polynomial that stays near 1 at short range and leaves value, slope and curvature zero at the radius.

        f_c(x) = 1 − ½(p+1)(p+2) xᵖ + p(p+2) xᵖ⁺¹ − ½p(p+1) xᵖ⁺²,   x = r / radius

    Gasteiger, Groß & Günnemann 2020, arXiv:2003.03123, eq. 8.

    Args:
        radius: cutoff radius, Å.
        power: p. A larger one leaves short distances untouched and falls more steeply near the radius.
    """

    smoothness = 2

    def __init__(self, *, radius: Annotated[float, Gt(0)], power: Annotated[int, Ge(2)]) -> None:
        super().__init__(radius=radius)
        self.power = power

    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """1 + xᵖ (−½(p+1)(p+2) + x (p(p+2) − ½p(p+1) x))."""
        p = self.power
        return 1.0 + x.pow(p) * (-0.5 * (p + 1) * (p + 2) + x * (p * (p + 2) - 0.5 * p * (p + 1) * x))
