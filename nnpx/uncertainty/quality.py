"""How good a standard deviation σ is that a potential states beside its prediction, judged by the errors e that it made.

Errors are taken for Gaussian, e ~ N(0, σ²). Calibration asks whether they are as large as σ says; sharpness how small σ is; ranking whether
the worst errors have the largest σ. Samples without an error or without a positive σ do not count. Gneiting & Raftery 2007,
doi:10.1198/016214506000001437 (scores); Kuleshov et al. 2018, arXiv:1807.00263 (coverage).
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erf, ndtri
from scipy.stats import rankdata, spearmanr

#: expected coverages of the central intervals at which calibration is judged
LEVELS: Final = np.linspace(0.0, 1.0, 100)
#: share of the samples that counts as large errors
WORST: Final = 0.1
#: samples without which no quality is stated
FEWEST: Final = 10

Samples = Float[np.ndarray, " sample"]


def quality(error: Float[np.ndarray, "..."], std: Float[np.ndarray, "..."]) -> dict[str, float | int]:
    """All numbers of this module under their names; empty where fewer than ten samples have both an error and a positive σ."""
    e, s = both(error, std)
    if e.size < FEWEST:
        return {}
    observed = observed_coverage(e, s)
    found: dict[str, float | int] = {
        "nll": nll(e, s),
        "crps": crps(e, s),
        "miscalibration_area": miscalibration_area(observed),
        "rmsce": rmsce(observed),
        "sharpness": sharpness(s),
        "ause": ause(e, s),
        "auroc_large_errors": auroc(s, np.abs(e) > np.quantile(np.abs(e), 1.0 - WORST)),
    }
    if np.ptp(s) > 0 and np.ptp(np.abs(e)) > 0:
        found["spearman"] = float(spearmanr(s, np.abs(e)).statistic)
    return {**{name: value for name, value in found.items() if np.isfinite(value)}, "count": int(e.size)}


def both(error: Float[np.ndarray, "..."], std: Float[np.ndarray, "..."]) -> tuple[Samples, Samples]:
    """Errors and σ of the samples that have both, in one row each."""
    good = np.isfinite(error) & np.isfinite(std) & (std > 0)
    return error[good], std[good]


def nll(error: Samples, std: Samples) -> float:
    """Mean negative logarithm of the Gaussian likelihood, ½ ln(2πσ²) + e²/(2σ²); smallest where σ² = ⟨e²⟩."""
    return float((0.5 * np.log(2.0 * np.pi * std**2) + 0.5 * (error / std) ** 2).mean())


def crps(error: Samples, std: Samples) -> float:
    """Mean continuous ranked probability score of a Gaussian, σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π] with z = e/σ, in the unit of the error."""
    z = error / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return float((std * (z * erf(z / np.sqrt(2.0)) + 2.0 * density - 1.0 / np.sqrt(np.pi))).mean())


def observed_coverage(error: Samples, std: Samples) -> Float[np.ndarray, " level"]:
    """Share of the errors inside the central interval that a Gaussian of this σ fills with the probability of each of `LEVELS`."""
    reach = ndtri(0.5 + 0.5 * LEVELS)  # half width in units of σ, infinite for all of it
    sizes = np.sort(np.abs(error) / std)
    return np.asarray(np.searchsorted(sizes, reach, side="right") / sizes.size)


def miscalibration_area(observed: Float[np.ndarray, " level"]) -> float:
    """Area between observed and expected coverage: 0 if calibrated, 1/2 at worst."""
    off = observed - LEVELS
    left, right, width = off[:-1], off[1:], np.diff(LEVELS)
    crossing = left * right < 0
    total = np.abs(left) + np.abs(right)
    triangles = (left**2 + right**2) / (2.0 * np.where(crossing, total, 1.0))  # two of them where the line crosses the diagonal
    return float((width * np.where(crossing, triangles, 0.5 * total)).sum())


def rmsce(observed: Float[np.ndarray, " level"]) -> float:
    """Root mean square calibration error: of observed minus expected coverage, over the 100 equally spaced `LEVELS` from 0 to 1."""
    return float(np.sqrt(((observed - LEVELS) ** 2).mean()))


def sharpness(std: Samples) -> float:
    """√⟨σ²⟩, in the unit of the error."""
    return float(np.sqrt((std**2).mean()))


def sparsification(error: Samples, order_by: Samples) -> Float[np.ndarray, " kept"]:
    """Mean absolute error of what is left when the k samples with the largest `order_by` are removed, k = 0 … n − 1, over that of all."""
    size = np.abs(error)[np.argsort(order_by, kind="stable")]
    left = np.cumsum(size) / np.arange(1, size.size + 1)
    return np.asarray(left[::-1] / left[-1]) if left[-1] > 0 else np.ones(size.size)


def ause(error: Samples, std: Samples) -> float:
    """Area between sparsification by σ and by the error itself, the oracle: 0 if σ sorts the samples by their error (arXiv:1802.07095)."""
    return float((sparsification(error, std) - sparsification(error, np.abs(error))).mean())


def auroc(score: Samples, positive: Bool[np.ndarray, " sample"]) -> float:
    """Probability that a positive sample has a larger score than a negative one, ties by half; NaN without either."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(score)[positive].sum()
    return float((ranks - 0.5 * n_positive * (n_positive + 1)) / (n_positive * n_negative))


def auroc_between(inside: Float[np.ndarray, " inside"], outside: Float[np.ndarray, " outside"]) -> float:
    """Whether spreads tell foreign structures from familiar ones: 1 if all foreign ones are larger, 1/2 if they cannot be told apart.

    Args:
        inside: spreads of structures like those of the training set, such as the largest σ of a force in each frame.
        outside: spreads of structures unlike them.
    """
    return auroc(np.concatenate([inside, outside]), np.arange(inside.size + outside.size) >= inside.size)
