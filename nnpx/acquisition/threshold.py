"""Between what is known and what is nonsense: the band of uncertainty in which a structure is worth a label."""

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float


@final
@dataclass(frozen=True)
class Limits:
    """The two ends of a band, eV/Å."""

    lower: float
    upper: float

    def holds(self, uncertainty: float) -> bool:
        """Whether a structure of this uncertainty is a candidate."""
        return self.lower < uncertainty <= self.upper


@final
class Threshold:
    """A band that follows the potential: what counts as uncertain is measured by the errors it makes on labelled structures.

        lower = max(a ε, q_p(σ), floor),   upper = b · lower

    ε is the root mean square error of the force on an atom and q_p(σ) a quantile of the calibrated spreads, both on the validation set.
    Fixed bounds, as in Zhang et al. 2019 (doi:10.1103/PhysRevMaterials.3.023804), have to be guessed for every system; the floor is the
    only fixed number here, below which nobody needs to know better.

    Args:
        error_factor: a, how many times ε a structure must be uncertain by.
        quantile: p, share of the validation set's atoms that are less uncertain than the band.
        floor: eV/Å; no structure that is less uncertain is a candidate.
        upper_factor: b; beyond, the potential is taken to be lost, and the structure to be none that it should learn from.
    """

    def __init__(
        self,
        *,
        error_factor: Annotated[float, Ge(0)],
        quantile: Annotated[float, Interval(ge=0, le=1)],
        floor: Annotated[float, Ge(0)],
        upper_factor: Annotated[float, Gt(1)],
    ) -> None:
        self.error_factor, self.quantile, self.floor, self.upper_factor = error_factor, quantile, floor, upper_factor

    def limits(self, spread: Float[np.ndarray, " atom"], error: Float[np.ndarray, " atom"]) -> Limits:
        """The band that these calibrated spreads and errors (eV/Å) of validated atoms give; that of the floor where there are none.

        Args:
            spread: calibrated σ of each atom.
            error: |ΔF| of each atom.
        """
        measured = [self.floor]
        if len(error):
            measured.append(self.error_factor * float(np.sqrt(np.mean(error**2))))
        if len(spread):
            measured.append(float(np.quantile(spread, self.quantile)))
        return Limits(max(measured), self.upper_factor * max(measured))
