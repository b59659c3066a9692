"""Scores of a predicted width: their values by numerical integration, where they are least, and that they find the true width."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from small import NUMBERS, carbons, ethanols, graph_of
from test_losses import FORCES_RMS, built, off_by, truth

from nnpx.config import compose, instantiate
from nnpx.errors import ConfigError


def likelihood(error: float, width: float) -> float:
    return -norm.logpdf(error, scale=width) - 0.5 * np.log(2 * np.pi)


def crps(error: float, width: float) -> float:
    """∫ (P(x ≤ y) − [label ≤ y])² dy, the prediction at zero and the label at −error."""
    below, _ = quad(lambda y: norm.cdf(y, scale=width) ** 2, -50.0, -error, epsabs=1e-13, limit=200)
    above, _ = quad(lambda y: norm.sf(y, scale=width) ** 2, -error, 50.0, epsabs=1e-13, limit=200)
    return below + above


SCORES = {"nll": likelihood, "crps": crps}


@pytest.fixture
def predicted():
    """Some structures, and a prediction with errors, spread and noise."""
    graph = graph_of([*ethanols(1), *carbons(1)])
    random = torch.Generator().manual_seed(5)
    sizes = {name: (graph.n_structures,) if name.startswith("energy") else (graph.n_atoms, 3) for name in WIDTHS}
    widths = {name: 0.05 + torch.rand(shape, generator=random, dtype=torch.float64) for name, shape in sizes.items()}
    return graph, replace(off_by(graph, 0.4), **widths)


WIDTHS = ("energy_std", "energy_noise", "forces_std", "forces_noise")


@pytest.mark.parametrize("option", SCORES)
def test_its_value_is_that_of_the_formula(option, predicted):
    graph, guess = predicted
    sizes = graph.atoms_per_structure().tolist()
    width = {kind: torch.sqrt(getattr(guess, f"{kind}_std") ** 2 + getattr(guess, f"{kind}_noise") ** 2) for kind in ("energy", "forces")}
    energy = [
        SCORES[option](float(guess.energy[k] - graph.energy[k]) / n**0.5 / FORCES_RMS, float(width["energy"][k]) / n**0.5 / FORCES_RMS)
        for k, n in enumerate(sizes)
    ]
    errors = ((guess.forces - graph.forces) / FORCES_RMS).flatten().tolist()
    forces = [SCORES[option](e, w) for e, w in zip(errors, (width["forces"] / FORCES_RMS).flatten().tolist(), strict=True)]
    loss = built(option, energy_weight=0.3, forces_weight=0.8, smallest=1e-9)
    assert float(loss(guess, graph, 0.0)) == pytest.approx(0.3 * np.mean(energy) + 0.8 * np.mean(forces), rel=1e-9)


@pytest.mark.parametrize("option", SCORES)
def test_its_gradient_is_that_of_finite_differences(option, predicted):
    graph, guess = predicted
    loss = built(option)
    names = ("energy", "forces", *WIDTHS)
    inputs = [getattr(guess, name).clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(lambda *values: loss(replace(guess, **dict(zip(names, values, strict=True))), graph, 0.0), inputs)


@pytest.mark.parametrize(("option", "factor"), [("nll", 1.0), ("crps", np.log(2.0) ** -0.5)])
@pytest.mark.parametrize("error", [0.01, 1.0, 20.0])
def test_for_a_given_error_it_is_least_at_the_right_width(option, factor, error):
    score = built(option, smallest=1e-9).score
    found = minimize_scalar(
        lambda width: float(score(torch.tensor([error]).double(), torch.tensor([width**2]).double())),
        bracket=(0.5 * error, 2.0 * error),
        tol=1e-9,
    )
    assert found.x == pytest.approx(factor * error, rel=1e-4)


@pytest.mark.parametrize("option", SCORES)
def test_in_the_mean_over_normal_errors_it_is_least_at_their_own_width_and_centre(option):
    error = torch.linspace(-9.0, 9.0, 4001, dtype=torch.float64)
    weight = torch.exp(-0.5 * error**2)
    score = built(option, smallest=1e-9).score

    def mean(centre: float, width: float) -> float:
        return float((weight * score(error - centre, torch.full_like(error, width**2))).sum() / weight.sum())

    best = mean(0.0, 1.0)
    assert all(mean(centre, width) > best for centre, width in ((0.1, 1.0), (-0.1, 1.0), (0.0, 0.9), (0.0, 1.1)))


@pytest.mark.parametrize("option", SCORES)
def test_it_is_least_at_the_truth_whatever_the_width(option, predicted):
    graph, guess = predicted
    loss, right = built(option), replace(guess, energy=graph.energy, forces=graph.forces.clone().requires_grad_())
    value = loss(right, graph, 0.0)
    assert value < loss(guess, graph, 0.0)
    assert torch.autograd.grad(value, right.forces)[0].abs().max() < 1e-15


def test_a_perfect_prediction_without_width_is_finite_with_a_finite_slope(predicted):
    graph, guess = predicted
    for option in SCORES:
        width = torch.zeros_like(guess.forces).requires_grad_()
        value = built(option)(replace(guess, energy=graph.energy, forces=graph.forces, forces_std=width), graph, 0.0)
        assert value.isfinite()
        assert torch.autograd.grad(value, width)[0].isfinite().all()


@pytest.mark.parametrize("option", SCORES)
def test_spread_and_noise_count_alike_and_either_may_be_missing(option, predicted):
    graph, guess = predicted
    loss, nothing = built(option), {"energy": torch.full_like(guess.energy, torch.nan), "forces": torch.full_like(guess.forces, torch.nan)}
    spread = replace(guess, energy_noise=nothing["energy"], forces_noise=nothing["forces"])
    noise = replace(
        spread, energy_noise=guess.energy_std, forces_noise=guess.forces_std, energy_std=nothing["energy"], forces_std=nothing["forces"]
    )
    assert loss(spread, graph, 0.0) == loss(noise, graph, 0.0)
    assert loss(spread, graph, 0.0) != loss(guess, graph, 0.0)


@pytest.mark.parametrize("option", SCORES)
@pytest.mark.parametrize(("of_energy", "found"), [(False, "no error bars"), (True, "error bars of the energies alone")])
def test_a_quantity_that_counts_but_has_no_width_is_refused(option, of_energy, found):
    """Error bars of energies are no width of forces: those would count as exact, and drown the energies."""
    config = compose([f"loss={option}"]).loss
    known = {"forces_rms": FORCES_RMS, "numbers": NUMBERS, "knows_energy_std": of_energy, "knows_forces_std": False}
    with pytest.raises(ConfigError, match=rf"{found}.*ensemble=shallow or noise=heteroscedastic"):
        instantiate(config, **known)
    if of_energy:
        instantiate({**config, "forces_weight": 0.0}, **known)


def test_with_error_bars_alone_the_best_energy_is_the_mean_weighted_by_their_inverse_squares():
    """Two labels of one structure, far apart, the second five times as uncertain."""
    graph = graph_of([*ethanols(1), *ethanols(1)])
    label, bar = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([0.1, 0.5], dtype=torch.float64)
    graph = graph.with_(energy=label, energy_noise=bar, forces=torch.full_like(graph.forces, torch.nan))
    loss = built("nll", smallest=1e-9)

    def at(energy: float) -> float:
        return float(loss(replace(truth(graph), energy=torch.full_like(label, energy)), graph, 0.0))

    weight = (1 / bar**2).numpy()
    assert minimize_scalar(at, bounds=(0.5, 2.5), method="bounded").x == pytest.approx((weight @ label.numpy()) / weight.sum(), abs=1e-5)


def test_an_error_bar_adds_to_spread_and_noise(predicted):
    graph, guess = predicted
    bars = torch.tensor([0.3, torch.nan], dtype=torch.float64)
    widened = torch.sqrt(guess.energy_std**2 + torch.nan_to_num(bars) ** 2)
    loss = built("crps")
    assert loss(guess, graph.with_(energy_noise=bars), 0.0) == pytest.approx(float(loss(replace(guess, energy_std=widened), graph, 0.0)))
