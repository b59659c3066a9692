"""Between what is known and what is nonsense: the band of uncertainty in which a structure is worth a label."""

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Float

from nnpx.errors import ConfigError


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
    validation set. They are medians because it may hold a few structures that a young potential led to and that are far off: counted in
    full they would lift the band beyond everything, and nothing more would be learned.
    Fixed bounds, as in Zhang et al. 2019 (doi:10.1103/PhysRevMaterials.3.023804), have to be guessed for every system; the floor is the
    only fixed number here, below which nobody needs to know better.

    Args:
        error_factor: a, how many times its usual error the potential must be uncertain by; 0 leaves the floor.
        floor: eV/Å; no structure that is less uncertain is a candidate.
        upper_factor: b; beyond, the potential is taken to be lost, and the structure to be none that it should learn from.

    Raises:
        ConfigError: `error_factor` and `floor` are both 0.
    """

    def __init__(
        self,
        *,
        error_factor: Annotated[float, Ge(0)],
        floor: Annotated[float, Ge(0)],
        upper_factor: Annotated[float, Gt(1)],
    ) -> None:
        if error_factor == floor == 0.0:
            raise ConfigError(
                "acquisition.band",
                expected="error_factor or floor above 0",
                found="both 0, a band without width",
                do="Give error_factor; with 1e-6 and upper_factor=1e9 every structure is a candidate.",
            )
        self.error_factor, self.floor, self.upper_factor = error_factor, floor, upper_factor

    def limits(self, spread: Float[np.ndarray, " structure"], error: Float[np.ndarray, " structure"]) -> Limits:
        """The band that these spreads σ_s and errors ε_s (eV/Å) of validated structures give; that of the floor where there are none."""
        usual = max(np.median(spread), np.median(error)) if len(error) else 0.0
        lower = max(self.error_factor * float(usual), self.floor)
        return Limits(lower, self.upper_factor * lower)
