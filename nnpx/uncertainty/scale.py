"""One factor."""

import warnings
from typing import Annotated, Final, Literal, final

import numpy as np
from annotated_types import Gt
from scipy.optimize import minimize_scalar

from nnpx.uncertainty import Curve, Samples, Uncertainty
from nnpx.uncertainty.quality import crps, nll

_SCORES: Final = {"crps": crps, "nll": nll}
#: ln c is at its bound where it is as close to it
BOUND: Final = 1e-2


@final
class Scale(Uncertainty):
    """σ = c s, with the c that makes a score of the errors least.

        c = argmin ⟨S(e, √(c² s² + n²))⟩

    S is the continuous ranked probability score, which a few large errors hardly move, or the negative log likelihood, with which
    c² = ⟨e²/s²⟩ where the labels have no noise n, and which takes a large error at a small spread very seriously. Both are least at the
    true width of Gaussian errors: Gneiting & Raftery 2007, doi:10.1198/016214506000001437.

    Args:
        score: S.
        largest: bounds of the search, 1/largest ≤ c ≤ largest. A warning says where the upper one is met.
    """

    def __init__(self, *, score: Literal["crps", "nll"], largest: Annotated[float, Gt(1)]) -> None:
        self.score, self.reach = _SCORES[score], float(np.log(largest))

    def curve(self, error: Samples, spread: Samples, noise: Samples) -> Curve | None:
        """A straight line through the origin; None where the noise explains the errors, so that no spread at all would be best."""

        def mean_score(log_c: float) -> float:
            return self.score(error, np.hypot(np.exp(log_c) * spread, noise))

        found = minimize_scalar(mean_score, bounds=(-self.reach, self.reach), method="bounded", options={"xatol": 1e-6})
        if found.x > self.reach - BOUND:
            asked = f"errors ask for more than {np.exp(self.reach):g} times their spread"
            warnings.warn(f"the members agree where they are wrong: {asked}, and σ is too small (uncertainty.largest)", stacklevel=2)
        return None if found.x < BOUND - self.reach else Curve.factor(np.exp(found.x))
