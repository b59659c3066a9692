"""A factor with a guarantee."""

from typing import Annotated, Final, final

import numpy as np
from annotated_types import Gt, Lt
from scipy.special import ndtri

from nnpx.uncertainty import Curve, Samples, Uncertainty

#: (n + 1) p is a whole number where it differs from one by less
ROUNDING: Final = 1e-9


@final
class Conformal(Uncertainty):
    """σ = c s, with the least c whose central interval is known to hold a given share of new errors, however these are distributed.

        c = the ⌈(n + 1) p⌉-th smallest c_k,   c_k² = (e_k²/z² − n_k²)⁺ / s_k²,   z = Φ⁻¹((1 + p)/2)

    because z √(c_k² s_k² + n_k²) is the interval that just reaches error k. The share p is guaranteed in the mean over new samples that are
    exchangeable with these, and needs n ≥ p/(1 − p) of them: 9 for 90 %, 99 for 99 %. Atoms of one structure are not independent, and
    structures of a simulation elsewhere are not like these at all.
    Split conformal prediction: Lei et al. 2018, doi:10.1080/01621459.2017.1307116.

    Args:
        coverage: p. Other shares are not guaranteed; errors with heavier tails than a Gaussian then fill small intervals too well.
    """

    def __init__(self, *, coverage: Annotated[float, Gt(0), Lt(1)]) -> None:
        self.coverage = coverage

    def curve(self, error: Samples, spread: Samples, noise: Samples) -> Curve | None:
        """A straight line through the origin; None where the samples are too few for a guarantee, or the noise explains their errors."""
        z = float(ndtri(0.5 + 0.5 * self.coverage))
        needed = np.sort(np.sqrt(((error / z) ** 2 - noise**2).clip(0.0)) / spread)
        rank = int(np.ceil((len(needed) + 1) * self.coverage - ROUNDING))
        if rank > len(needed) or needed[rank - 1] == 0.0:
            return None
        return Curve.factor(needed[rank - 1])
