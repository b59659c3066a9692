"""Between what is known and what is nonsense: the band of uncertainty in which a structure is worth a label."""

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt
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

        lower = max(a · median_s(ε_s), a · median_s(σ_s), floor),   upper = b · lower

    ε_s and σ_s are the root mean squares over the atoms of structure s of the error of the force and of its calibrated spread, on the
    validation set. They are medians because it may hold some structures, fewer than half, that a young potential led to and that are far
    off: counted in full they would lift the band beyond everything, and nothing more would be learned. The uncertainty of a structure,
    which is compared with the band, is that of its most uncertain atom, one to two times the root mean square over its atoms.
    Fixed bounds, as in Zhang et al. 2019 (doi:10.1103/PhysRevMaterials.3.023804), have to be guessed for every system; the floor is the
    only fixed number here, below which nobody needs to know better.

    Args:
        error_factor: a, how many times its usual error or spread the potential must be uncertain by; 0 leaves the floor.
        floor: eV/Å; no structure that is less uncertain is a candidate.
        upper_factor: b; beyond, the potential is taken to be lost, and the structure to be none that it should learn from.
    """

    def __init__(
        self,
        *,
        error_factor: Annotated[float, Ge(0)],
        floor: Annotated[float, Gt(0)],
        upper_factor: Annotated[float, Gt(1)],
    ) -> None:
        self.error_factor, self.floor, self.upper_factor = error_factor, floor, upper_factor

    def limits(self, spread: Float[np.ndarray, " structure"], error: Float[np.ndarray, " structure"]) -> Limits:
        """The band that these spreads σ_s and errors ε_s (eV/Å) of validated structures give; that of the floor where none is known."""
        usual = [float(np.median(known)) for known in (spread[np.isfinite(spread)], error[np.isfinite(error)]) if len(known)]
        lower = max(self.error_factor * max(usual, default=0.0), self.floor)
        return Limits(lower, self.upper_factor * lower)
