"""A rising curve."""

from typing import Annotated, final

import numpy as np
from annotated_types import Ge
from scipy.optimize import isotonic_regression

from nnpx.uncertainty import Curve, Samples, Uncertainty


@final
class Isotonic(Uncertainty):
    """σ² is the mean square of the errors of samples with such a spread, made to rise with it.

        σ_k² = ⟨e² − n²⟩ over the k-th portion of the samples in the order of their spread, then isotonic regression over k

    It needs more samples than a factor, and mends a spread that is too small where it is small and too large where it is large. Zadrozny &
    Elkan 2002, doi:10.1145/775047.775151; mean squares in portions of equal size: Levi et al. 2022, doi:10.3390/s22155540.

    Args:
        samples_per_knot: of a portion. Fewer follow the chance errors.
    """

    def __init__(self, *, samples_per_knot: Annotated[int, Ge(2)]) -> None:
        self.samples_per_knot = samples_per_knot

    def curve(self, error: Samples, spread: Samples, noise: Samples) -> Curve | None:
        """A knot for each portion, and a constant σ below the first; too few samples for two portions give a factor.

        Where the noise explains all errors of the first portions, σ rises from the origin to the first of which it does not; None where it
        explains all.
        """
        order = np.argsort(spread, kind="stable")
        portions = np.array_split(order, max(1, len(order) // self.samples_per_knot))
        x = np.array([np.sqrt((spread[one] ** 2).mean()) for one in portions])
        square = np.array([(error[one] ** 2 - noise[one] ** 2).mean() for one in portions])
        y = np.sqrt(isotonic_regression(square, weights=[len(one) for one in portions]).x.clip(0.0))
        first = np.concatenate([[True], np.diff(x) > 0])  # portions of one and the same spread have one knot
        x, y = x[first], y[first]
        known = y > 0
        if not known.any():
            return None
        lowest = float(y[0]) if len(y) > 1 else 0.0
        return Curve((0.0, *x[known].tolist()), (lowest, *y[known].tolist()))
