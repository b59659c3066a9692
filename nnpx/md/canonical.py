"""Whether a trajectory visits the canonical ensemble: a test of the whole distribution of the kinetic energy, not of its mean alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.stats import gamma, kstest

from nnpx import units
from nnpx.md.trajectory import Trajectory

#: samples are taken this many correlation times apart, which leaves some hundredths of their correlation
_APART: Final = 2.0
#: fewer decorrelated samples than this decide nothing
_FEWEST: Final = 10


@dataclass(frozen=True)
class CanonicalTest:
    """How probable such a trajectory, or a less canonical one, is in the canonical ensemble."""

    p_value: float  #: of Kolmogorov and Smirnov; below 0.001 the ensemble is another one. NaN where the trajectory is too short
    samples: int  #: decorrelated samples that it rests on


def canonical_test(trajectory: Trajectory, temperature_K: float) -> CanonicalTest:
    """Compare the kinetic energies with the canonical ones: E_kin/kT follows the Γ distribution with f/2 degrees.

    A thermostat that holds ⟨T⟩ but narrows its fluctuations passes a test of the mean and fails this one (Merz and Shirts 2018,
    doi:10.1371/journal.pone.0202764). So does, once it is long enough, BAOAB with a coarse time step: where positions are canonical,
    momenta of a vibration of frequency ω are colder by a share (ωΔt)²/4.

    Args:
        trajectory: of a dynamics with a heat bath.
        temperature_K: of the bath.
    """
    return pooled_canonical_test(trajectory.kinetic[:, None], trajectory.degrees_of_freedom, temperature_K)


def pooled_canonical_test(kinetic: Float[np.ndarray, "sample run"], degrees_of_freedom: int, temperature_K: float) -> CanonicalTest:
    """The same of independent runs at one temperature together.

    Args:
        kinetic: energies at equal times, eV.
        degrees_of_freedom: f of each run.
        temperature_K: of the baths.
    """
    apart = max(1, int(np.ceil(_APART * correlation_length(kinetic))))
    samples = kinetic[::apart].ravel() / (temperature_K * units.K)
    if len(samples) < _FEWEST or degrees_of_freedom == 0:
        return CanonicalTest(float("nan"), len(samples))
    found = kstest(samples, "gamma", args=(0.5 * degrees_of_freedom,))
    return CanonicalTest(float(found.pvalue), len(samples))


def canonical_density(temperature: Float[np.ndarray, " value"], target_K: float, degrees_of_freedom: int) -> Float[np.ndarray, " value"]:
    """Of the temperature of an instant, 1/K: T f/(2 T₀) follows the Γ distribution with f/2 degrees, whose width is T₀ √(2/f)."""
    shape = 0.5 * degrees_of_freedom
    return np.asarray(gamma.pdf(temperature, shape, scale=target_K / shape))


def correlation_length(series: Float[np.ndarray, "sample run"]) -> float:
    """1 + 2 Σ_k ρ_k, in samples: how many of them carry the information of one independent sample.

    The mean is that of all runs: runs that are shorter than their memory differ in their means, and seem to forget at once where each has
    its own. The sum ends before the first pair of neighbouring ρ with a sum below zero, where noise begins (Geyer 1992,
    doi:10.1214/ss/1177011137).
    """
    centred, n_samples = series - series.mean(), len(series)
    if not centred.any():
        return 1.0
    # padded with zeros, so that the end does not correlate with the beginning
    power = (np.abs(np.fft.rfft(centred, 2 * n_samples, axis=0)) ** 2).mean(1)
    rho = np.fft.irfft(power)[:n_samples] / (n_samples - np.arange(n_samples))
    pairs = (rho / rho[0])[: n_samples // 2 * 2].reshape(-1, 2).sum(1)
    ended = np.flatnonzero(pairs <= 0)
    kept = pairs[: ended[0]] if len(ended) else pairs
    return max(1.0, float(2.0 * kept.sum() - 1.0))
