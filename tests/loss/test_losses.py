"""Losses: zero at the truth, their values from the formula by hand, and what each is good for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from small import NUMBERS, carbons, ethanols, graph_of

from nnpx.config import compose, conf_dir, instantiate
from nnpx.errors import ConfigError
from nnpx.graph import AtomicGraph, Prediction
from nnpx.loss import Loss

FORCES_RMS = 1.7
OPTIONS = sorted(path.stem for path in (conf_dir() / "loss").glob("*.yaml"))


def built(option: str = "energy_forces", **changed) -> Loss:
    return instantiate(
        {**compose([f"loss={option}"]).loss, **changed},
        forces_rms=FORCES_RMS,
        numbers=NUMBERS,
        knows_energy_std=True,
        knows_forces_std=True,
    )


def truth(graph: AtomicGraph) -> Prediction:
    unknown, of_atoms = torch.full_like(graph.energy, torch.nan), torch.full_like(graph.forces, torch.nan)
    widths = (unknown, of_atoms, of_atoms, unknown, of_atoms)
    return Prediction(graph.energy, graph.forces, graph.stress, torch.zeros(graph.n_atoms), *widths)


def off_by(graph: AtomicGraph, size: float) -> Prediction:
    """The truth with random errors."""
    random = torch.Generator().manual_seed(0)
    right = truth(graph)
    return replace(right, **{
        name: getattr(right, name) + size * torch.randn(getattr(right, name).shape, generator=random, dtype=torch.float64)
        for name in ("energy", "forces", "stress")
    })  # fmt: skip


def by_hand(graph: AtomicGraph, prediction: Prediction, cost, weights: dict[int, float], energy: float, forces: float, stress: float):
    """The formula, one error at a time; cost is that of an error in units of F_rms."""
    sizes = [int((graph.owner == k).sum()) for k in range(graph.n_structures)]
    e, f, s = [], [], []
    for k, size in enumerate(sizes):
        e.append(cost(float(prediction.energy[k] - graph.energy[k]) / size**0.5 / FORCES_RMS))
        for delta in (prediction.stress[k] - graph.stress[k]).flatten().tolist():
            s += [cost(float(graph.volume[k]) * delta / size**0.5 / FORCES_RMS)] if delta == delta else []
    for atom in range(graph.n_atoms):
        for delta in (prediction.forces[atom] - graph.forces[atom]).tolist():
            f.append(weights.get(NUMBERS[int(graph.species[atom])], 1.0) * cost(delta / FORCES_RMS))
    return energy * np.mean(e) + forces * np.mean(f) + (stress * np.mean(s) if s else 0.0)


def huber(delta: float):
    return lambda x: x * x if abs(x) <= delta else 2 * delta * abs(x) - delta**2


@pytest.fixture
def mixed() -> AtomicGraph:
    return graph_of([*ethanols(2), *carbons(2)])


@pytest.mark.parametrize("option", sorted({*OPTIONS} - {"nll", "crps"}))
@pytest.mark.parametrize("progress", [0.0, 0.9, 1.0])
def test_it_is_zero_with_a_zero_gradient_at_the_truth_and_positive_elsewhere(option, progress, mixed):
    loss, right = built(option), truth(mixed)
    forces = right.forces.clone().requires_grad_()
    value = loss(replace(right, forces=forces), mixed, progress)
    assert value == 0
    assert (torch.autograd.grad(value, forces)[0] == 0).all()
    assert loss(off_by(mixed, 0.01), mixed, progress) > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_a_missing_label_neither_counts_nor_spoils(option, mixed):
    loss, wrong = built(option), off_by(mixed, 0.1)
    few = mixed.select(torch.tensor([0, 2]))
    forces = mixed.forces.clone()
    forces[(mixed.owner == 1) | (mixed.owner == 3)] = torch.nan
    energy, stress = mixed.energy.clone(), mixed.stress.clone()
    energy[[1, 3]], stress[[1, 3]] = torch.nan, torch.nan
    guess = wrong.forces.clone().requires_grad_()
    value = loss(replace(wrong, forces=guess), mixed.with_(energy=energy, forces=forces, stress=stress), 0.0)
    atoms = torch.isin(mixed.owner, torch.tensor([0, 2]))
    kept = replace(truth(few), energy=wrong.energy[[0, 2]], forces=wrong.forces[atoms], stress=wrong.stress[[0, 2]])
    torch.testing.assert_close(value, loss(kept, few, 0.0))
    (slope,) = torch.autograd.grad(value, guess)
    assert slope.isfinite().all()
    assert (slope[~atoms] == 0).all()


@pytest.mark.parametrize("size", [1e-4, 0.02, 3.0])
@pytest.mark.parametrize("weights", [{}, {1: 0.5, 6: 3.0}])
@pytest.mark.parametrize(("option", "cost"), [("energy_forces", lambda x: x * x), ("huber", huber(0.01))])
def test_its_value_is_that_of_the_formula(option, cost, weights, size, mixed):
    symbols = {"H": 1, "C": 6}
    given = {symbol: weights[number] for symbol, number in symbols.items() if number in weights}
    loss = built(option, energy_weight=0.3, forces_weight=0.8, stress_weight=0.2, element_weights=given or None)
    wrong = off_by(mixed, size)
    expected = by_hand(mixed, wrong, cost, weights, energy=0.3, forces=0.8, stress=0.2)
    assert float(loss(wrong, mixed, 0.5)) == pytest.approx(expected, rel=1e-10)


def test_huber_has_the_values_and_the_slope_of_torch(mixed):
    """Twice torch's function, whose small errors cost half their square."""
    loss, wrong = built("huber", energy_weight=0.0, stress_weight=0.0, delta=0.2), off_by(mixed, 0.5)
    torch_forces, forces = (wrong.forces.clone().requires_grad_() for _ in range(2))
    expected = 2 * torch.nn.functional.huber_loss(torch_forces / FORCES_RMS, mixed.forces / FORCES_RMS, delta=0.2)
    value = loss(replace(wrong, forces=forces), mixed, 0.0)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, forces), torch.autograd.grad(expected, torch_forces))


def test_huber_is_the_robust_cost_of_scipy(mixed):
    wrong = off_by(mixed, 0.5)
    errors = ((wrong.forces - mixed.forces) / FORCES_RMS).flatten().numpy()
    cost = least_squares(lambda _: errors, [0.0], loss="huber", f_scale=0.2, max_nfev=1).cost  # half the sum of ρ
    loss = built("huber", energy_weight=0.0, stress_weight=0.0, delta=0.2)
    assert float(loss(wrong, mixed, 0.0)) == pytest.approx(2 * cost / len(errors), rel=1e-12)


def test_huber_with_a_far_bend_is_the_mean_square(mixed):
    wrong = off_by(mixed, 1.0)
    torch.testing.assert_close(built("huber", delta=1e6)(wrong, mixed, 0.0), built()(wrong, mixed, 0.0), rtol=1e-14, atol=0)


def test_an_outlier_pulls_the_mean_square_but_not_huber(mixed):
    """One wrong label among good ones: its share of the gradient is bounded."""
    labels = mixed.forces.clone()
    labels[0, 0] += 50.0
    spoilt, shares = mixed.with_(forces=labels), {}
    for option in ("energy_forces", "huber"):
        forces = off_by(mixed, 0.05).forces.requires_grad_()
        value = built(option)(replace(off_by(mixed, 0.05), forces=forces), spoilt, 0.0)
        slope = torch.autograd.grad(value, forces)[0].abs()
        shares[option] = float(slope[0, 0] / slope.sum())
    assert shares["energy_forces"] > 0.8
    assert shares["huber"] < 0.05


def test_it_does_not_depend_on_the_unit_of_stiffness(mixed):
    """All labels and errors ten times as large, forces_rms with them: the same loss."""
    wrong, tenfold = off_by(mixed, 0.3), mixed.with_(energy=10 * mixed.energy, forces=10 * mixed.forces, stress=10 * mixed.stress)
    larger = replace(wrong, energy=10 * wrong.energy, forces=10 * wrong.forces, stress=10 * wrong.stress)
    for option in OPTIONS:
        stiff = instantiate(
            compose([f"loss={option}"]).loss, forces_rms=10 * FORCES_RMS, numbers=NUMBERS, knows_energy_std=True, knows_forces_std=True
        )
        torch.testing.assert_close(stiff(larger, tenfold, 0.0), built(option)(wrong, mixed, 0.0), rtol=1e-9, atol=0)


def test_equal_element_weights_change_the_forces_alone(mixed):
    wrong, twice = off_by(mixed, 0.1), dict.fromkeys(("H", "C", "O"), 2.0)
    torch.testing.assert_close(built(element_weights=twice)(wrong, mixed, 0.0), built(forces_weight=2.0)(wrong, mixed, 0.0))
    torch.testing.assert_close(built(element_weights={})(wrong, mixed, 0.0), built()(wrong, mixed, 0.0), rtol=0, atol=0)


def test_an_element_of_weight_zero_is_not_fitted(mixed):
    forces = off_by(mixed, 0.1).forces.requires_grad_()
    value = built(element_weights={"H": 0.0})(replace(off_by(mixed, 0.1), forces=forces), mixed, 0.0)
    (slope,) = torch.autograd.grad(value, forces)
    hydrogen = mixed.species == NUMBERS.index(1)
    assert (slope[hydrogen] == 0).all()
    assert (slope[~hydrogen] != 0).all()


@pytest.mark.parametrize(("symbol", "do"), [("h", r"Did you mean H\?"), ("Cc", r"Did you mean C\?"), ("Si", r"Remove Si\.")])
def test_a_weight_of_no_element_of_the_data_is_refused(symbol, do):
    with pytest.raises(
        ConfigError, match=rf"element_weights\.{symbol}: expected an element of the data \(H, C, O\), found {symbol}\. {do}"
    ):
        built(element_weights={symbol: 2.0})


def test_two_stages_are_the_first_loss_and_then_the_second(mixed):
    wrong = off_by(mixed, 0.1)
    first, second = built(energy_weight=0.01), built(energy_weight=1.0)
    loss = built("two_stage", switch_at=0.6)
    for progress, expected in ((0.0, first), (0.599, first), (0.6, second), (1.0, second)):
        assert loss(wrong, mixed, progress) == expected(wrong, mixed, progress)


def test_a_stage_may_be_of_any_loss(mixed):
    wrong = off_by(mixed, 0.1)
    loss = built("two_stage", second=compose(["loss=huber"]).loss)
    assert loss(wrong, mixed, 1.0) == built("huber")(wrong, mixed, 1.0)


def test_the_forces_weigh_more_in_the_first_stage_and_the_energy_in_the_second(mixed):
    right, loss = truth(mixed), built("two_stage")
    energy, forces = replace(right, energy=right.energy + 0.1), replace(right, forces=right.forces + 0.1)
    shares = [float(loss(energy, mixed, progress) / loss(forces, mixed, progress)) for progress in (0.0, 1.0)]
    assert shares[1] == pytest.approx(100 * shares[0])
