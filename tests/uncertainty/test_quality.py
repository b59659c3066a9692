"""Measures of a standard deviation: numbers of another implementation and analytic limits.

The numbers in `ELSEWHERE` were computed from the same seeded sample with uncertainty-toolbox 0.1.1 (nll_gaussian, crps_gaussian,
miscalibration_area, root_mean_squared_calibration_error with intervals, sharpness) and roc_auc_score of scikit-learn 1.9.1, on numpy 2.4.6
and scipy 1.17.1. They are kept here because that package would bring scikit-learn along.
"""

import numpy as np
import pytest

from nnpx.uncertainty.quality import auroc, auroc_between, ause, crps, miscalibration_area, nll, observed_coverage, quality, rmsce

ELSEWHERE = {
    "nll": 1.0975418337958354,
    "crps": 0.4338050462845146,
    "miscalibration_area": 0.08719696969696973,
    "rmsce": 0.09778427757608811,
    "sharpness": 0.6130435353544162,
    "auroc_large_errors": 0.8075694444444444,
}


def test_numbers_are_those_of_another_implementation() -> None:
    generator = np.random.default_rng(7)
    std = generator.uniform(0.1, 1.0, size=400)
    found = quality(1.4 * std * generator.normal(size=400), std)
    assert {name: found[name] for name in ELSEWHERE} == pytest.approx(ELSEWHERE, rel=1e-10)


def test_a_calibrated_gaussian_reaches_the_analytic_limits() -> None:
    std = np.full(200_000, 0.3)
    error = 0.3 * np.random.default_rng(1).normal(size=std.size)
    observed = observed_coverage(error, std)
    assert nll(error, std) == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.3**2), abs=5e-3)
    assert crps(error, std) == pytest.approx(0.3 / np.sqrt(np.pi), rel=5e-3)
    assert rmsce(observed) < 5e-3
    assert miscalibration_area(observed) < 5e-3


def test_a_vanishing_spread_covers_nothing() -> None:
    observed = observed_coverage(np.ones(50), np.full(50, 1e-9))
    assert miscalibration_area(observed) == pytest.approx(0.5, abs=6e-3)


def test_a_spread_that_sorts_by_error_is_the_oracle_and_its_reverse_is_not() -> None:
    error = np.linspace(0.1, 2.0, 40)
    assert ause(error, error) == pytest.approx(0.0)
    assert ause(error, error[::-1]) > 0.5
    assert auroc(error, error > 1.0) == 1.0
    assert auroc(error, error < 1.0) == 0.0


def test_foreign_structures_with_equal_spreads_cannot_be_told_apart() -> None:
    assert auroc_between(np.ones(3), np.ones(5)) == 0.5
    assert auroc_between(np.ones(3), 2 * np.ones(5)) == 1.0


def test_what_has_no_spread_has_no_quality() -> None:
    assert quality(np.ones(50), np.full(50, np.nan)) == {}
    assert quality(np.ones(50), np.zeros(50)) == {}
