"""How long a potential is stable, from replicas of which some were stopped and the others outlived the simulation."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import chi2

#: what a bound on the stability time is not to miss
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Stability:
    """The mean time to the first alarm, if alarms come at a constant rate."""

    stopped: int  #: replicas that were stopped
    replicas: int  #: of how many
    time_ps: float  #: τ; NaN where none was stopped
    error_ps: float  #: its standard error; NaN where none was stopped
    at_least_ps: float  #: τ is longer with a confidence of 95 %


def stability(time_ps: Float[np.ndarray, " replica"], stopped: Bool[np.ndarray, " replica"]) -> Stability:
    """Maximum likelihood of an exponential distribution, in which a replica that was not stopped counts with all its time.

        τ = Σ_k t_k / n,   σ_τ = τ/√n,   τ > 2 Σ_k t_k / χ²_{0.95}(2n + 2)          n: replicas that were stopped

    Leaving the survivors out, or taking the end of the simulation for their end, would make every potential as unstable as the simulation
    is short. Without any alarm the bound is Σt/3.0. Epstein and Sobel 1953, doi:10.1080/01621459.1953.10483488.

    Args:
        time_ps: how long every replica was followed.
        stopped: whether that ended with an alarm.
    """
    alarms, total = int(stopped.sum()), float(time_ps.sum())
    mean = total / alarms if alarms else float("nan")
    error = mean / np.sqrt(alarms) if alarms else float("nan")
    return Stability(alarms, len(stopped), mean, float(error), 2.0 * total / float(chi2.ppf(_CONFIDENCE, 2 * alarms + 2)))


def survival(
    time_ps: Float[np.ndarray, " replica"], stopped: Bool[np.ndarray, " replica"]
) -> tuple[Float[np.ndarray, " event"], Float[np.ndarray, " event"]]:
    """The share that is still within bounds after each alarm: S = Π (1 − d/n) (Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452).

    Returns:
        Times, ps, from 0 to the longest, and the share from each time on.
    """
    times, shares, share = [0.0], [1.0], 1.0
    for event in np.unique(time_ps[stopped]):
        at_risk = int((time_ps >= event).sum())
        share *= 1.0 - int((stopped & (time_ps == event)).sum()) / at_risk
        times.append(float(event))
        shares.append(share)
    return np.array([*times, float(time_ps.max())]), np.array([*shares, share])
