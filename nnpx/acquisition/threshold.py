"""Between what is known and what is nonsense: the band of uncertainty in which a structure is worth a label."""

import math
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Float


@final
@dataclass(frozen=True)
class Limits:
    """The two ends of a band, eV/Å, and how far from training the band holds."""

    lower: float
    upper: float
    farthest: float = math.inf  #: largest Mahalanobis distance at which the spread is believed

    def holds(self, uncertainty: float) -> bool:
        """Whether a structure of this uncertainty is a candidate."""
        return self.lower < uncertainty <= self.upper


@final
class Threshold:
    """A band that follows the potential: what counts as uncertain is measured by the errors it makes on labelled structures.

        lower = max(a · median_s(ε_s), a · median_s(σ_s), floor),   upper = b · lower,   farthest = c · median_s(max_i d_i)

    ε_s and σ_s are the root mean squares over the atoms of structure s of the error of the force and of its calibrated spread, on the
    validation set. They are medians because it may hold some structures, fewer than half, that a young potential led to and that are far
    off: counted in full they would lift the band beyond everything, and nothing more would be learned. The uncertainty of a structure,
    which is compared with the band, is that of its most uncertain atom, one to two times the root mean square over its atoms.
    The members of an ensemble have seen the same structures, and may agree on what is far from all of them: d_i is the Mahalanobis distance
    of an atom from the training environments (`nnpx.uncertainty.mahalanobis`). Few of these make all that is new seem far, validated
    structures as well, so it too is measured by what is usual.
    Fixed bounds, as in Zhang et al. 2019 (doi:10.1103/PhysRevMaterials.3.023804), have to be guessed for every system; the floor is the
    only fixed number here, below which nobody needs to know better.

    Args:
        error_factor: a, how many times its usual error or spread the potential must be uncertain by; 0 leaves the floor.
        floor: eV/Å; no structure that is less uncertain is a candidate.
        upper_factor: b; beyond, the potential is taken to be lost, and the structure to be none that it should learn from.
        distance_factor: c, how many times as far from training as validated structures usually are a structure may be (Mahalanobis
            distance of its farthest atom), however certain it seems; null asks the spread alone.
    """

    def __init__(
        self,
        *,
        error_factor: Annotated[float, Ge(0)],
        floor: Annotated[float, Gt(0)],
        upper_factor: Annotated[float, Gt(1)],
        distance_factor: Annotated[float, Gt(1)] | None,
    ) -> None:
        self.error_factor, self.floor, self.upper_factor, self.distance_factor = error_factor, floor, upper_factor, distance_factor

    def limits(
        self,
        spread: Float[np.ndarray, " structure"],
        error: Float[np.ndarray, " structure"],
        distance: Float[np.ndarray, " structure"],
    ) -> Limits:
        """The band that spreads σ_s, errors ε_s (eV/Å) and distances max_i d_i of validated structures give.

        What is not finite is not known. Where no error or spread is known, the band is that of the floor; where no distance is, it is not
        asked for.
        """
        lower = max(self.error_factor * max(_usual(spread, 0.0), _usual(error, 0.0)), self.floor)
        farthest = math.inf if self.distance_factor is None else self.distance_factor * _usual(distance, math.inf)
        return Limits(lower, self.upper_factor * lower, farthest)


def _usual(values: Float[np.ndarray, " structure"], otherwise: float) -> float:
    """The median of what is known."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else otherwise
