"""Estimators against series and molecules whose answer is known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from md_systems import sampled
from scipy.signal import lfilter
from scipy.stats import norm

from nnpx import units
from nnpx.figures import svg
from nnpx.md import figures
from nnpx.md.bonds import find_bonds
from nnpx.md.observables import conservation, distance_distribution_error, distributions, mean, slope
from nnpx.md.trajectory import Trajectory


def trajectory(atoms: Atoms, positions: np.ndarray, total: np.ndarray | None = None) -> Trajectory:
    frames = len(positions)
    kinetic, energy = np.full(frames, 0.5), np.zeros(frames) if total is None else total
    return sampled(
        atoms,
        positions,
        time_ps=np.linspace(0.0, 10.0, frames),
        potential=energy - kinetic,
        kinetic=kinetic,
        conserved=energy,
        energy_std=np.full(frames, 0.01),
    )


@pytest.fixture
def ethanol() -> Atoms:
    return molecule("CH3CH2OH")


def test_a_known_drift_is_recovered_below_an_oscillation_and_noise(ethanol: Atoms) -> None:
    """0.3 meV per atom and ps."""
    random = np.random.default_rng(0)
    time = np.linspace(0.0, 10.0, 2000)
    total = 9 * units.meV * (0.3 * time + 0.5 * np.sin(40.0 * time) + 0.2 * random.standard_normal(2000))
    found = conservation(trajectory(ethanol, np.zeros((2000, 9, 3)), total))
    assert found.drift.value == pytest.approx(0.3, abs=4 * found.drift.error)
    assert found.drift.error < 0.02
    assert found.fluctuation == pytest.approx(np.sqrt(0.5**2 / 2 + 0.2**2), rel=0.05)


def test_error_of_a_slope_covers_correlated_noise() -> None:
    """Three standard errors cover the true slope, zero, of an Ornstein–Uhlenbeck process."""
    random = np.random.default_rng(1)
    outside = 0
    for _ in range(100):
        series = np.zeros(2000)
        for k in range(1, 2000):
            series[k] = 0.95 * series[k - 1] + random.standard_normal()
        found = slope(np.arange(2000.0), series)
        outside += abs(found.value) > 3 * found.error
    assert outside <= 6


def test_error_of_a_mean_covers_the_truth() -> None:
    random = np.random.default_rng(2)
    estimates = [mean(random.standard_normal(1000)) for _ in range(200)]
    inside = np.mean([abs(one.value) < 2.26 * one.error for one in estimates])
    assert 0.9 < inside <= 1.0


def test_bonds_of_ethanol_are_those_of_its_formula(ethanol: Atoms) -> None:
    bonds = find_bonds(ethanol, 1.25)
    assert {kind: len(chosen) for kind, chosen in bonds.by_elements().items()} == {"C-C": 1, "C-H": 5, "C-O": 1, "H-O": 1}
    angles = bonds.angles(ethanol.positions[None], ethanol.cell.array)
    assert {kind: values.size for kind, values in angles.items()} == {
        "C-C-H": 5, "C-C-O": 1, "C-O-H": 1, "H-C-H": 4, "H-C-O": 2,
    }  # fmt: skip


def test_angle_of_water_is_that_of_ase() -> None:
    water = molecule("H2O")
    angle = find_bonds(water, 1.25).angles(water.positions[None], water.cell.array)["H-O-H"]
    assert angle[0, 0] == pytest.approx(water.get_angle(1, 0, 2))


def test_bonds_across_a_periodic_boundary_have_their_length() -> None:
    silicon = bulk("Si", cubic=True)
    bonds = find_bonds(silicon, 1.1)
    assert len(bonds.first) == 16
    np.testing.assert_allclose(bonds.lengths(silicon.positions, silicon.cell.array), np.sqrt(3) / 4 * silicon.cell[0, 0])
    angles = bonds.angles(silicon.positions[None], silicon.cell.array)["Si-Si-Si"]
    assert angles.size == 48
    np.testing.assert_allclose(angles, np.degrees(np.arccos(-1 / 3)))


def test_a_bond_to_the_own_image_is_counted_once() -> None:
    primitive = bulk("Cu")
    assert len(find_bonds(primitive, 1.1).first) == 6


def test_distance_between_two_gaussians_is_that_of_their_means() -> None:
    """The Wasserstein distance of two normal distributions of equal width is the difference of the means."""
    random = np.random.default_rng(3)
    dimer = Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])

    def stretched(center: float) -> Trajectory:
        positions = np.zeros((20000, 2, 3))
        positions[:, 1, 2] = center + 0.02 * random.standard_normal(20000)
        return trajectory(dimer, positions)

    (found,) = distributions(stretched(0.75), stretched(0.78), 1.25)
    assert (found.kind, found.unit) == ("H-H", "Å")
    assert found.distance == pytest.approx(0.03, abs=0.002)
    assert found.noise < 0.002
    assert found.mean.value == pytest.approx(0.75, abs=0.001)
    assert found.reference_spread == pytest.approx(0.02, rel=0.05)
    assert found.overlap == pytest.approx(2 * norm.cdf(-0.75), abs=0.03)
    error = distance_distribution_error(stretched(0.75), stretched(0.78))
    assert error == pytest.approx(2 - 4 * norm.cdf(-0.75), abs=0.05)


def test_noise_is_the_distance_that_two_perfect_runs_show_in_the_mean() -> None:
    random = np.random.default_rng(5)
    dimer = Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])

    def perfect() -> Trajectory:
        positions = np.zeros((1000, 2, 3))
        positions[:, 1, 2] = 0.75 + 0.02 * random.standard_normal(1000)
        return trajectory(dimer, positions)

    found = [distributions(perfect(), perfect(), 1.25)[0] for _ in range(200)]
    assert np.mean([one.noise for one in found]) == pytest.approx(np.mean([one.distance for one in found]), rel=0.12)


def test_errors_of_a_correlated_bond_length_cover_the_truth() -> None:
    """Of the mean and of every bin, where those of independent samples would be six times too small; the width is no error."""
    random = np.random.default_rng(6)
    length, dimer = 0.95, Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])

    def correlated() -> Trajectory:
        """An Ornstein–Uhlenbeck process of width 0.02 Å, whose memory is e^(−t/20)."""
        noise = random.standard_normal(4000)
        series = lfilter([np.sqrt(1.0 - length**2)], [1.0, -length], noise, zi=[length * random.standard_normal()])[0]
        positions = np.zeros((4000, 2, 3))
        positions[:, 1, 2] = 0.75 + 0.02 * series
        return trajectory(dimer, positions)

    found = [distributions(correlated(), correlated(), 1.25)[0] for _ in range(100)]
    for estimates in ([one.mean for one in found], [one.reference_mean for one in found]):
        assert 0.85 < np.mean([abs(one.value - 0.75) < 2.26 * one.error for one in estimates]) <= 1.0
    for one in found:
        assert one.spread == pytest.approx(0.02, rel=0.2)
        assert one.mean.error < 0.25 * one.spread
    inside = []
    for one in found:
        exact = np.diff(norm.cdf(one.edges, 0.75, 0.02)) / np.diff(one.edges)
        core = np.abs(one.edges[:-1] - 0.75) < 0.02
        for density, error in ((one.density, one.density_error), (one.reference, one.reference_error)):
            inside.append(np.abs(density - exact)[core] < 2.26 * error[core])
    assert 0.85 < np.concatenate(inside).mean() <= 1.0


def test_without_a_reference_there_is_nothing_to_compare(ethanol: Atoms) -> None:
    found = distributions(trajectory(ethanol, np.repeat(ethanol.positions[None], 5, 0)), None, 1.25)
    assert len(found) == 9
    assert all(np.isnan([one.distance, one.noise, one.overlap, one.reference_mean.value]).all() for one in found)


def test_figures_are_the_same_bytes_for_the_same_numbers(ethanol: Atoms) -> None:
    random = np.random.default_rng(4)
    frames = ethanol.positions + 0.02 * random.standard_normal((50, 9, 3))
    one = trajectory(ethanol, frames, random.standard_normal(50))
    drawn = [
        [svg(figures.energy(one)), svg(figures.temperature(one, 300.0)), svg(figures.distributions(distributions(one, one, 1.25)))]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert "C-C-O (°)" in drawn[0][2]
