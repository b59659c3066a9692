"""A shallow ensemble: each head is a potential of its own, and training can see how far they lie apart."""

from pathlib import Path

import pytest
import torch
from ase.io import write
from members_of_ensembles import N_HEADS, heads_of
from omegaconf import OmegaConf
from small import CONFIG, NUMBERS, carbons, ethanols, graph_of, potential_for, stored

from nnpx import artifact
from nnpx.assembly import build_parts
from nnpx.config import compose, conf_dir
from nnpx.ensemble import Ensemble
from nnpx.ensemble.shallow import Shallow
from nnpx.errors import ConfigError
from nnpx.fitting import Task, describe_structures
from nnpx.members import train_members
from nnpx.upstream import check_choices

SHALLOW = {"_target_": "nnpx.ensemble.shallow.Shallow", "n_heads": N_HEADS}
NETWORKS = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted((conf_dir() / "network").glob("*.yaml"))}
CONFIGS = [{**CONFIG, "network": network, "ensemble": SHALLOW} for network in NETWORKS.values()]
PREDICTED = ("energy", "forces", "stress", "atomic_energies", "energy_std", "forces_std")


@pytest.mark.parametrize("config", CONFIGS, ids=NETWORKS)
def test_it_is_the_ensemble_of_its_heads(config):
    for structures in (ethanols(2), carbons(2)):
        graph = graph_of(structures)
        potential = potential_for(graph, config=config).eval()
        shallow, deep = Ensemble([potential]), Ensemble(heads_of(potential, graph, config))
        assert shallow.n_members == deep.n_members == N_HEADS
        for found in (shallow(graph), potential(graph)):
            for name in PREDICTED:
                torch.testing.assert_close(getattr(found, name), getattr(deep(graph), name), rtol=1e-10, atol=1e-11, equal_nan=True)
        assert (shallow(graph).energy_std > 0).all()
        torch.testing.assert_close(shallow(graph, spread=False).forces, deep(graph).forces, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("config", CONFIGS, ids=NETWORKS)
def test_the_heads_start_apart_and_the_first_like_a_single_potential(config):
    graph = graph_of(ethanols(1))
    potential = potential_for(graph, config=config)
    last = [weight for weight in potential.network.parameters() if N_HEADS in weight.shape and weight.any()]
    assert all(torch.unique(weight.flatten()).numel() == weight.numel() for weight in last)
    assert len(last) == 1


@pytest.mark.parametrize("is_stored", [False, True], ids=["computed", "stored"])
@pytest.mark.parametrize("structures", [ethanols(2), carbons(1)], ids=["molecules", "crystal"])
def test_a_loss_of_the_spread_of_the_forces_has_the_gradient_of_finite_differences(structures, is_stored, generator):
    graph = graph_of(structures)
    potential = potential_for(graph, config={**CONFIG, "ensemble": SHALLOW}).train()
    graph = stored(graph, potential) if is_stored else graph
    weights = list(potential.network.parameters())
    along = [torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in weights]

    def loss_after(step):
        with torch.no_grad():
            torch._foreach_add_(weights, along, alpha=step)
        found = potential(graph)
        return found.forces_std.clamp_min(1e-9).log().sum() + found.forces.square().sum() + found.energy_std.sum()

    slopes = torch.autograd.grad(loss_after(0.0), weights)
    slope = sum((d * s).sum() for d, s in zip(along, slopes, strict=True))
    difference = (loss_after(1e-6) - loss_after(-2e-6)).detach() / 2e-6
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-6)


def test_its_file_answers_as_it_does(tmp_path):
    graph, config = graph_of(ethanols(2)), {**CONFIG, "ensemble": SHALLOW}
    ensemble = Ensemble([potential_for(graph, config=config).eval()])
    artifact.save(tmp_path / "potential.nnpx", ensemble, config=config, card={}, provenance={}, training={})
    loaded = artifact.load(tmp_path / "potential.nnpx")
    assert loaded.n_members == N_HEADS
    for name in PREDICTED:
        torch.testing.assert_close(getattr(loaded(graph), name), getattr(ensemble(graph), name), rtol=0, atol=0, equal_nan=True)


def test_a_file_that_knows_neither_heads_nor_noise_has_one_head(tmp_path):
    graph = graph_of(ethanols(1))
    ensemble, config = Ensemble([potential_for(graph).eval()]), {key: value for key, value in CONFIG.items() if key != "noise"}
    artifact.save(tmp_path / "potential.nnpx", ensemble, config=config, card={}, provenance={}, training={})
    assert artifact.load(tmp_path / "potential.nnpx").n_members == 1


def test_training_by_likelihood_fits_the_spread_to_the_errors(tmp_path):
    """On new structures the errors are as large as the spread says, within a quarter, which before the training they are not."""
    structures = ethanols(48)
    write(tmp_path / "train.extxyz", structures[:40])
    write(tmp_path / "valid.extxyz", structures[40:])
    trainer = {**CONFIG["trainer"], "max_epochs": 40, "feature_floor": compose([]).trainer.feature_floor}
    config = {**CONFIG, "ensemble": SHALLOW, "loss": dict(compose(["loss=nll"]).loss), "trainer": trainer}
    task = Task(config, NUMBERS, {}, tmp_path / "work")
    describe_structures(task, tmp_path)
    (potential,), (curve,) = train_members(task, [0], n_processes=1, report=lambda row: None)
    graph = graph_of(ethanols(20, seed=1))
    ratios = []
    for one in (potential_for(graph, config=config).eval(), potential.to_precision(torch.float64)):
        found = Ensemble([one])(graph)
        ratios.append(float((found.forces - graph.forces).square().mean().sqrt() / found.forces_std.square().mean().sqrt()))
    assert curve[-1].valid_loss < curve[0].valid_loss
    assert ratios[0] < 0.7
    assert 0.8 < ratios[1] < 1.25


@pytest.mark.parametrize("option", ["nll", "crps"])
def test_a_loss_that_needs_a_spread_is_refused_without_one_before_anything_runs(option):
    for overrides in (["ensemble=shallow"], ["noise=heteroscedastic"]):
        check_choices("label", compose([f"loss={option}", *overrides]), Path.cwd())
    with pytest.raises(ConfigError, match="Choose ensemble=shallow or noise=heteroscedastic"):
        check_choices("label", compose([f"loss={option}"]), Path.cwd())


@pytest.mark.parametrize("option", ["energy_forces", "huber", "two_stage", "nll loss.forces_weight=0", "crps loss.energy_weight=0"])
def test_a_loss_that_does_not_fit_the_spread_of_energies_and_forces_is_refused(option):
    with pytest.raises(ConfigError, match=r"loss: expected a loss that fits the spread .* Choose loss=crps or loss=nll"):
        check_choices("label", compose(["ensemble=shallow", *f"loss={option}".split()]), Path.cwd())


def test_it_is_one_potential_of_the_seed_of_the_experiment():
    assert Shallow(n_heads=3).seeds(7) == [7]
    assert build_parts({**CONFIG, "ensemble": SHALLOW}, numbers=NUMBERS, seed=7).n_heads == N_HEADS
