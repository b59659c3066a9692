"""The noise of the labels: additive over atoms, the same for both of two equal axes, averaged over members, and found where it is known."""

import numpy as np
import pytest
import torch
from small import CONFIG, ethanols, graph_of, potential_for

from nnpx import artifact
from nnpx.calculator import Calculator
from nnpx.config import compose
from nnpx.ensemble import Ensemble
from nnpx.evaluation import Deviations
from nnpx.graph import in_quadrature
from nnpx.noise import Noise
from nnpx.testing.structures import rotated

NONE, HETEROSCEDASTIC = (dict(compose([f"noise={option}"]).noise) for option in ("none", "heteroscedastic"))
NOISY = {**CONFIG, "noise": HETEROSCEDASTIC}


def test_without_a_description_there_is_none():
    graph = graph_of(ethanols(2))
    found = potential_for(graph, config={**CONFIG, "noise": NONE}).eval()(graph)
    assert found.energy_noise.isnan().all()
    assert found.forces_noise.isnan().all()


def test_a_description_changes_no_energy():
    graph = graph_of(ethanols(2))
    quiet, noisy = (potential_for(graph, config=config).eval() for config in (CONFIG, NOISY))
    weights = {name: noisy.state_dict()[name][..., :1].contiguous() for name in ("network.weights.2", "network.biases.2")}
    quiet.load_state_dict({**noisy.state_dict(), **weights})
    assert torch.equal(quiet(graph).energy, noisy(graph).energy)
    torch.testing.assert_close(quiet(graph).forces, noisy(graph).forces, rtol=0, atol=1e-13)


def test_it_is_the_formula_written_out():
    graph = graph_of(ethanols(2))
    potential = potential_for(graph, config=NOISY).eval()
    chemistry, geometry = potential.describe(graph, graph.edges(), graph.species)
    standardised = (geometry - potential.feature_mean[graph.species]) / potential.feature_std[graph.species]
    outputs = potential.network(standardised, chemistry, graph.species).detach()[:, 1:]
    variances = float(potential.energy_scale) ** 2 * (torch.log(1.0 + torch.exp(outputs)) + NOISY["noise"]["smallest"] ** 2)
    found = potential(graph)
    torch.testing.assert_close(found.energy_noise, variances[:, 0].reshape(2, 9).sum(1).sqrt(), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.forces_noise, variances[:, 1:].sqrt().expand(-1, 3), rtol=1e-10, atol=0)


def test_variances_of_distant_molecules_add_and_no_axis_is_preferred():
    first, second = ethanols(2)
    second.positions += [50.0, 0.0, 0.0]
    both, turned, apart = graph_of([first + second]), graph_of([rotated(first, rotation())]), graph_of([first, second])
    potential = potential_for(apart, config=NOISY).eval()
    torch.testing.assert_close(potential(both).energy_noise.square()[0], potential(apart).energy_noise.square().sum(), rtol=1e-11, atol=0)
    torch.testing.assert_close(potential(turned).forces_noise, potential(apart).forces_noise[:9], rtol=1e-10, atol=0)


def rotation():
    return torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q.numpy()


def test_an_ensemble_reports_spread_and_noise_apart():
    """σ² of the spread is that of the members' energies alone, the noise the mean of their variances."""
    graph = graph_of(ethanols(2))
    members = [potential_for(graph, seed, NOISY).eval() for seed in range(3)]
    each, found = [member(graph) for member in members], Ensemble(members)(graph)
    for name in ("energy", "forces"):
        torch.testing.assert_close(
            getattr(found, f"{name}_std"), torch.stack([getattr(one, name) for one in each]).std(0), rtol=1e-8, atol=1e-11
        )
        noise = torch.stack([getattr(one, f"{name}_noise") for one in each]).square().mean(0).sqrt()
        torch.testing.assert_close(getattr(found, f"{name}_noise"), noise, rtol=1e-10, atol=0)


class Trained(Noise):
    """A noise with a weight of its own."""

    n_outputs = 2

    def __init__(self):
        super().__init__()
        self.size = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, outputs):
        return self.size * outputs.exp()


def test_a_prediction_of_an_ensemble_leaves_nothing_to_differentiate():
    """Whatever is trained of its potentials, and whether or not gradients are being recorded."""
    graph = graph_of(ethanols(2))
    member = potential_for(graph, 0, NOISY).eval()
    member.noise = Trained()
    found = Ensemble([member])(graph)
    assert not any(value.requires_grad for value in vars(found).values())
    assert (found.energy_noise > 0).all()


def test_variances_of_spread_and_noise_add_where_both_exist():
    graph = graph_of(ethanols(2))
    noisy, quiet = ([potential_for(graph, seed, config).eval() for seed in range(2)] for config in (NOISY, CONFIG))
    both, spread, noise, nothing = (Ensemble(members)(graph) for members in (noisy, quiet, noisy[:1], quiet[:1]))
    for name in ("energy", "forces"):
        std, described = ([getattr(one, f"{name}_{kind}") for one in (both, spread, noise, nothing)] for kind in ("std", "noise"))
        total = [in_quadrature(*pair) for pair in zip(std, described, strict=True)]
        torch.testing.assert_close(total[0].square(), std[0].square() + described[0].square(), rtol=1e-12, atol=0)
        assert torch.equal(total[1], std[1])
        assert torch.equal(total[2], described[2])
        assert total[3].isnan().all()
        for one, other, expected in zip(std, described, total, strict=True):
            found = Deviations(np.zeros(one.shape), one.numpy(), other.numpy()).total
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12)


def test_the_calculator_answers_for_the_noise_where_it_is_described():
    atoms = ethanols(1)[0]
    graph = graph_of([atoms])
    ensemble = Ensemble([potential_for(graph, config=NOISY).eval()])
    calculator, found = Calculator(ensemble), ensemble(graph)
    assert calculator.get_property("energy_noise", atoms) == pytest.approx(float(found.energy_noise[0]), rel=1e-12)
    np.testing.assert_allclose(calculator.get_property("forces_noise", atoms), found.forces_noise.numpy(), rtol=1e-10)
    assert "energy_noise" not in Calculator(Ensemble([potential_for(graph).eval()])).implemented_properties


def test_blocks_of_centres_have_the_same_noise(monkeypatch):
    graph = graph_of(ethanols(3))
    ensemble = Ensemble([potential_for(graph, config=NOISY).eval()])
    whole = ensemble(graph)
    monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 4})
    torch.testing.assert_close(ensemble(graph).energy_noise, whole.energy_noise, rtol=1e-12, atol=0)
    torch.testing.assert_close(ensemble(graph).forces_noise, whole.forces_noise, rtol=1e-12, atol=0)


def test_a_file_keeps_it(tmp_path):
    graph = graph_of(ethanols(2))
    ensemble = Ensemble([potential_for(graph, config=NOISY).eval()])
    artifact.save(tmp_path / "potential.nnpx", ensemble, config=NOISY, card={}, provenance={}, training={})
    assert torch.equal(artifact.load(tmp_path / "potential.nnpx")(graph).energy_noise, ensemble(graph).energy_noise)
