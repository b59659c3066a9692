"""A test of the canonical ensemble against ensembles that are known to be canonical, and some that are not."""

import numpy as np
import pytest
from ase.build import molecule
from md_systems import sampled

from nnpx import units
from nnpx.md.canonical import canonical_density, canonical_test, correlation_length, pooled_canonical_test
from nnpx.md.trajectory import Trajectory

TEMPERATURE_K = 300.0


def trajectory(kinetic: np.ndarray, degrees_of_freedom: int = 27) -> Trajectory:
    """Kinetic energies in units of kT."""
    frames = np.zeros((len(kinetic), 9, 3))
    return sampled(molecule("CH3CH2OH"), frames, degrees_of_freedom=degrees_of_freedom, kinetic=kinetic * TEMPERATURE_K * units.K)


def bath(random: np.random.Generator, samples: int, memory: float, degrees_of_freedom: int = 27) -> np.ndarray:
    """E_kin/kT of free particles in a Langevin bath: momenta that remember a share of themselves between samples."""
    momenta, kinetic = random.standard_normal(degrees_of_freedom), []
    for _ in range(samples):
        momenta = memory * momenta + np.sqrt(1 - memory**2) * random.standard_normal(degrees_of_freedom)
        kinetic.append(0.5 * (momenta**2).sum())
    return np.array(kinetic)


@pytest.mark.parametrize("memory", [0.0, 0.7, 0.95])
def test_a_canonical_trajectory_fails_as_often_as_the_p_value_says(memory: float) -> None:
    """Also when its samples are correlated: 5 % of p-values lie below 0.05, half of them below one half."""
    random = np.random.default_rng(0)
    p = np.array([canonical_test(trajectory(bath(random, 1000, memory)), TEMPERATURE_K).p_value for _ in range(100)])
    assert (p < 0.05).mean() <= 0.12
    assert (p < 0.5).mean() == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("memory", [0.0, 0.95])
def test_independent_runs_are_tested_together(memory: float) -> None:
    """As often below a p-value as it says, and none of them alone is long enough to find 5 % out that twenty do."""
    random = np.random.default_rng(4)
    p, off, alone = [], [], []
    for _ in range(60):
        kinetic = np.array([bath(random, 200, memory) for _ in range(20)]).T * TEMPERATURE_K * units.K
        p.append(pooled_canonical_test(kinetic, 27, TEMPERATURE_K).p_value)
        off.append(pooled_canonical_test(1.1 * kinetic, 27, TEMPERATURE_K).p_value)
        alone.append(pooled_canonical_test(1.1 * kinetic[:, :1], 27, TEMPERATURE_K).p_value)
    assert (np.array(p) < 0.05).mean() <= 0.15
    assert (np.array(p) < 0.5).mean() == pytest.approx(0.5, abs=0.25)
    assert (np.array(off) < 0.05).mean() > 0.6
    assert (np.nan_to_num(alone, nan=1.0) < 0.05).mean() < (np.array(off) < 0.05).mean()


def test_another_temperature_and_narrowed_fluctuations_are_found_out() -> None:
    random = np.random.default_rng(1)
    kinetic = bath(random, 4000, 0.5)
    assert canonical_test(trajectory(kinetic), TEMPERATURE_K).p_value > 0.001
    assert canonical_test(trajectory(1.1 * kinetic), TEMPERATURE_K).p_value < 0.001
    narrowed = kinetic.mean() + 0.6 * (kinetic - kinetic.mean())
    assert canonical_test(trajectory(narrowed), TEMPERATURE_K).p_value < 0.001
    assert canonical_test(trajectory(kinetic, degrees_of_freedom=21), TEMPERATURE_K).p_value < 0.001


def test_a_short_trajectory_decides_nothing() -> None:
    found = canonical_test(trajectory(bath(np.random.default_rng(2), 8, 0.0)), TEMPERATURE_K)
    assert np.isnan(found.p_value)
    assert found.samples <= 8


@pytest.mark.parametrize("memory", [0.0, 0.6, 0.9])
def test_correlation_length_of_a_process_that_forgets_exponentially(memory: float) -> None:
    """(1 + ρ)/(1 − ρ)."""
    random, series = np.random.default_rng(3), np.zeros(40000)
    for k in range(1, len(series)):
        series[k] = memory * series[k - 1] + random.standard_normal()
    assert correlation_length(series[:, None]) == pytest.approx((1 + memory) / (1 - memory), rel=0.15)
    assert correlation_length(np.ones((10, 2))) == 1.0


def test_runs_shorter_than_their_memory_are_not_taken_for_decorrelated() -> None:
    """P-values are uniform also of fifty canonical runs of twenty samples, none of which forgets its start."""
    random, p = np.random.default_rng(5), []
    for _ in range(150):
        kinetic = np.array([bath(random, 20, 0.98) for _ in range(50)]).T * TEMPERATURE_K * units.K
        p.append(pooled_canonical_test(kinetic, 27, TEMPERATURE_K).p_value)
    assert (np.array(p) < 0.05).mean() < 0.1
    assert (np.array(p) < 0.5).mean() == pytest.approx(0.5, abs=0.15)


def test_the_expected_density_of_the_temperature_is_that_of_the_canonical_ensemble() -> None:
    """Its integral is 1, its mean T₀ and its width T₀ √(2/f)."""
    grid = np.linspace(0.01, 3000.0, 30001)
    density = canonical_density(grid, 300.0, 24)
    moments = [float((density * (grid - 300.0) ** k).sum() * (grid[1] - grid[0])) for k in range(3)]
    assert moments == pytest.approx([1.0, 0.0, 300.0**2 * 2 / 24], rel=1e-3, abs=1e-2)
