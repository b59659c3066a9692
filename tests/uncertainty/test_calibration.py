"""A calibrated spread is a standard deviation: of errors whose width is known, whatever way is chosen, and in the file as in memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy.stats import norm
from small import CONFIG, NUMBERS, ethanols, graph_of, potential_for

from nnpx import artifact
from nnpx.config import conf_dir, instantiate
from nnpx.ensemble import Ensemble
from nnpx.evaluation import calibrate, compare
from nnpx.uncertainty import Calibration, Curve
from nnpx.uncertainty.conformal import Conformal
from nnpx.uncertainty.isotonic import Isotonic
from nnpx.uncertainty.quality import observed_coverage, rmsce
from nnpx.uncertainty.scale import Scale

OPTIONS = sorted(path.stem for path in (conf_dir() / "uncertainty").glob("*.yaml"))


def way(option):
    return instantiate(OmegaConf.load(conf_dir() / "uncertainty" / f"{option}.yaml"))


def sample(n=20_000, seed=0):
    """Spreads, and standard normal numbers to make errors of."""
    random = np.random.default_rng(seed)
    return random.uniform(0.1, 1.0, n), random.normal(size=n)


def of(curve, spread):
    return curve(torch.from_numpy(spread)).numpy()


def test_the_curve_is_straight_between_knots_and_goes_through_the_origin_beyond_them():
    curve = Curve((0.0, 1.0, 3.0), (0.5, 1.0, 6.0))
    assert of(curve, np.array([0.0, 0.5, 1.0, 2.0, 3.0, 6.0])) == pytest.approx([0.5, 0.75, 1.0, 3.5, 6.0, 12.0])
    assert np.isnan(of(curve, np.array([np.nan]))).all()
    assert of(Curve.factor(2.5), np.array([0.0, 0.3, 40.0])) == pytest.approx([0.0, 0.75, 100.0])


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "none"])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_every_way_finds_the_width_of_gaussian_errors_beside_known_noise(option, noise):
    spread, normal = sample()
    known = np.full_like(spread, noise)
    found = of(way(option).curve(np.hypot(2.5 * spread, known) * normal, spread, known), spread)
    middle = spread > 0.3  # where the noise does not hide it
    assert np.abs(found / (2.5 * spread) - 1)[middle].mean() < 0.05
    assert (np.diff(found[np.argsort(spread)]) >= 0).all()


def test_a_factor_by_likelihood_is_the_root_mean_square_of_the_standardised_errors():
    spread, normal = sample(500)
    error = 3.0 * spread * normal**3
    curve = Scale(score="nll", largest=1e3).curve(error, spread, np.zeros_like(spread))
    assert curve.std[1] == pytest.approx(np.sqrt(np.mean((error / spread) ** 2)), rel=1e-4)


def test_a_few_wrong_labels_move_the_factor_by_crps_less_than_that_by_likelihood():
    spread, normal = sample()
    error = spread * normal
    error[:100] *= 100.0  # half a percent
    by = {score: Scale(score=score, largest=1e3).curve(error, spread, np.zeros_like(spread)).std[1] for score in ("crps", "nll")}
    assert by["crps"] < 1.6
    assert by["nll"] > 5.0


def test_isotonic_follows_errors_that_are_not_proportional_to_the_spread():
    spread, normal = sample()
    curve = Isotonic(samples_per_knot=500).curve(spread**2 * normal, spread, np.zeros_like(spread))
    inside = np.linspace(0.2, 0.95, 20)
    assert of(curve, inside) == pytest.approx(inside**2, rel=0.08)


def test_isotonic_never_falls_where_errors_do():
    spread, normal = sample()
    curve = Isotonic(samples_per_knot=500).curve((1.1 - spread) * normal, spread, np.zeros_like(spread))
    assert (np.diff(curve.std) >= 0).all()


def test_isotonic_is_a_factor_where_samples_are_few_or_all_alike():
    spread, normal = sample(150)
    assert Isotonic(samples_per_knot=100).curve(spread * normal, spread, np.zeros(150)).std[0] == 0.0
    same = np.full(20_000, 0.2)
    assert of(Isotonic(samples_per_knot=100).curve(3 * same * sample()[1], same, 0 * same), same) == pytest.approx(0.6, rel=0.05)


def test_conformal_covers_new_errors_with_heavy_tails_by_the_share_that_it_promises():
    """In the mean over calibration sets, p ≤ coverage ≤ p + 1/(n + 1): for Student's t with two degrees of freedom, without variance."""
    random, n, covered = np.random.default_rng(3), 19, []
    for _ in range(3000):
        spread, new = random.uniform(0.1, 1.0, n), random.uniform(0.1, 1.0)
        curve = Conformal(coverage=0.9).curve(spread * random.standard_t(2, n), spread, np.zeros(n))
        covered.append(abs(new * random.standard_t(2)) <= 1.6449 * curve.std[1] * new)
    assert 0.9 - 0.016 < np.mean(covered) < 0.95 + 0.016  # three standard errors of 3,000 draws


@pytest.mark.parametrize("coverage", [0.9, 0.99])
def test_conformal_promises_nothing_that_its_samples_cannot_show(coverage):
    n = round(coverage / (1 - coverage))
    spread, normal = sample(n)
    assert Conformal(coverage=coverage).curve(spread * normal, spread, np.zeros(n)).std[1] == pytest.approx(
        np.abs(normal).max() / norm.ppf(0.5 + 0.5 * coverage)
    )
    assert Conformal(coverage=coverage).curve(spread[1:] * normal[1:], spread[1:], np.zeros(n - 1)) is None


@pytest.mark.parametrize("score", ["crps", "nll"])
def test_a_factor_at_the_bound_of_its_search_is_told(score):
    spread, normal = sample(600)
    scale = Scale(score=score, largest=10.0)
    with pytest.warns(UserWarning, match="more than 10 times"):
        scale.curve(30.0 * spread * normal, spread, np.zeros(600))


@pytest.mark.parametrize(
    "way", [Conformal(coverage=0.9), Isotonic(samples_per_knot=50), Scale(score="crps", largest=1e3), Scale(score="nll", largest=1e3)]
)
def test_where_the_noise_explains_all_errors_no_spread_becomes_a_certainty(way):
    spread, normal = sample(600)
    error, noise = 0.01 * spread * normal, np.ones(600)
    assert way.curve(error, spread, noise) is None


def test_isotonic_rises_from_the_origin_to_the_first_errors_that_noise_does_not_explain():
    spread, normal = sample(600)
    curve = Isotonic(samples_per_knot=50).curve(0.01 * spread * normal, spread, np.where(spread > 0.8, 0.0, 1.0))
    assert curve.std[0] == 0.0
    assert (of(curve, np.array([1e-3, 0.1, 0.9])) > 0).all()


@pytest.fixture(scope="module")
def graph():
    return graph_of(ethanols(12))


@pytest.fixture(scope="module")
def raw(graph):
    return Ensemble([potential_for(graph, seed).eval() for seed in range(4)])


def test_a_calibrated_ensemble_predicts_the_same_with_another_spread(graph, raw):
    half_energy, curve = Curve.factor(0.5), Curve((0.0, 0.1, 0.2), (0.1, 0.3, 0.9))
    before, after = raw(graph), Ensemble([*raw.members], Calibration({"energy": half_energy, "forces": curve}))(graph)
    assert torch.equal(before.energy, after.energy)
    assert torch.equal(before.forces, after.forces)
    torch.testing.assert_close(after.energy_std, 0.5 * before.energy_std)
    expected = curve(before.forces_std.square().mean(1).sqrt())
    torch.testing.assert_close(after.forces_std, expected[:, None].expand(-1, 3))


def test_turning_a_structure_does_not_change_its_calibrated_spread(raw):
    calibrated = Ensemble([*raw.members], Calibration({"forces": Curve((0.0, 0.1), (0.1, 0.3))}))
    here, there = ethanols(1)[0], ethanols(1)[0]
    there.rotate(40.0, (1, 2, 3))
    torch.testing.assert_close(calibrated(graph_of([here])).forces_std, calibrated(graph_of([there])).forces_std, rtol=1e-8, atol=1e-10)


def test_the_energy_of_two_copies_far_apart_is_as_uncertain_per_atom_as_that_of_one(raw):
    calibrated = Ensemble([*raw.members], Calibration({"energy": Curve((0.0, 1e-4, 1e-2), (0.0, 0.1, 0.2))}))
    one, other = ethanols(1)[0], ethanols(1)[0]
    other.translate([50.0, 0.0, 0.0])
    single, double = calibrated(graph_of([one])).energy_std[0], calibrated(graph_of([one + other])).energy_std[0]
    assert double.item() == pytest.approx(2 * single.item(), rel=1e-9)


def test_errors_of_known_width_are_recognised_by_quantity(graph, raw):
    """Labels whose errors are three times the spread for energies, and half of it for forces."""
    prediction = raw(graph)
    generator = torch.Generator().manual_seed(1)
    energy_noise = torch.randn(prediction.energy.shape, generator=generator, dtype=torch.float64)
    forces_noise = torch.randn(prediction.forces.shape, generator=generator, dtype=torch.float64)
    of_atoms = prediction.forces_std.square().mean(1, keepdim=True).sqrt()
    labelled = graph.with_(
        energy=prediction.energy + 3.0 * prediction.energy_std * energy_noise, forces=prediction.forces + 0.5 * of_atoms * forces_noise
    )
    compared = compare(labelled, prediction, NUMBERS, [""] * 12)
    found = calibrate(compared, way("scale"))
    assert found.curves["energy"].std[1] == pytest.approx(3.0, rel=0.5)  # twelve structures
    assert found.curves["forces"].std[1] == pytest.approx(0.5, rel=0.12)
    after = compare(labelled, Ensemble([*raw.members], found)(graph), NUMBERS, [""] * 12).deviations()["forces"]
    assert rmsce(observed_coverage(after.error.ravel(), after.total.ravel())) < 0.05
    assert calibrate(replace(compared, energy_label=np.full(12, np.nan)), way("scale")).curves.keys() == {"forces"}
    assert calibrate(compared, way("none")) == Calibration()


def test_the_file_keeps_the_calibration(tmp_path, graph, raw):
    calibration = Calibration({"energy": Curve.factor(2.0), "forces": Curve((0.0, 0.1, 0.25), (0.05, 0.3, 0.4))})
    ensemble = Ensemble([*raw.members], calibration)
    artifact.save(tmp_path / "p.nnpx", ensemble, config=CONFIG, card={}, provenance={}, training={})
    loaded = artifact.load(tmp_path / "p.nnpx")
    assert loaded.calibration == calibration
    torch.testing.assert_close(loaded(graph).forces_std, ensemble(graph).forces_std)
    artifact.save(tmp_path / "p.nnpx", raw, config=CONFIG, card={}, provenance={}, training={})
    assert artifact.load(tmp_path / "p.nnpx").calibration == Calibration()
