"""The outcome of a training: errors on the validation set as one would work them out, cost, and the same names everywhere."""

import json

import numpy as np
import pytest
import torch
from ase.io import write
from small import NUMBERS, ethanols, graph_of, potential_for

from nnpx import choices, cli, outcome
from nnpx.data.frames import write as write_frames
from nnpx.ensemble import Ensemble
from nnpx.evaluation import compare, predict
from nnpx.metrics import metrics
from nnpx.results import metric_names
from nnpx.uncertainty import Calibration
from nnpx.uncertainty.scale import Scale


@pytest.fixture(scope="module")
def ensemble():
    graph = graph_of(ethanols(6))
    return Ensemble([potential_for(graph, seed=seed) for seed in (0, 1)])


@pytest.fixture
def prepared(tmp_path):
    write_frames(tmp_path / "train.extxyz", ethanols(6))
    write_frames(tmp_path / "valid.extxyz", ethanols(5, seed=1))
    return tmp_path


def test_errors_are_those_of_the_mean_of_the_members(ensemble, prepared):
    found = outcome.measure(ensemble, prepared, train_wall_s=3.0)
    energy, forces = [], []
    for atoms in ethanols(5, seed=1):
        members = [member(graph_of([atoms])) for member in ensemble.members]
        energy.append(abs(np.mean([one.energy.item() for one in members]) - atoms.get_potential_energy()) / len(atoms))
        forces.append(np.abs(np.mean([one.forces.detach().numpy() for one in members], axis=0) - atoms.get_forces()))
    assert found["valid/energy_per_atom_mae"] == pytest.approx(np.mean(energy), rel=1e-6)
    assert found["valid/forces_mae"] == pytest.approx(np.mean(forces), rel=1e-6)
    assert "valid/stress_mae" not in found  # molecules have none


def test_names_are_those_of_an_evaluation(ensemble, prepared):
    graph = graph_of(ethanols(5, seed=1))
    evaluated = metric_names({"valid": metrics(compare(graph, predict(ensemble, [graph]), NUMBERS, [""] * 5))})
    found = outcome.measure(ensemble, prepared, train_wall_s=3.0)
    assert {name: found[name] for name in found if name.startswith("valid/")} == {
        name: pytest.approx(evaluated[name], rel=1e-9) for name in ("valid/energy_per_atom_mae", "valid/forces_mae")
    }


def test_cost_is_time_per_atom_parameters_of_all_members_and_the_time_of_training(ensemble, prepared, monkeypatch):
    """A clock that ticks once a second: every evaluation of 45 atoms takes one."""
    ticks = iter(range(100))
    monkeypatch.setattr(outcome.time, "perf_counter", lambda: float(next(ticks)))
    found = outcome.measure(ensemble, prepared, train_wall_s=3.0)
    assert found["us_per_atom"] == pytest.approx(1e6 / 45, rel=1e-4)
    assert found["n_parameters"] == 2 * sum(weight.numel() for weight in ensemble.members[0].parameters())
    assert found["train_wall_s"] == 3.0


def test_spreads_are_calibrated_on_the_validation_set_and_those_of_one_potential_are_not(ensemble, prepared, tmp_path):
    found = outcome.knowing_itself(ensemble, Scale(score="nll", largest=1e6), prepared).calibration.curves["forces"].std[1]
    prediction = ensemble(graph_of(ethanols(5, seed=1)))
    error = prediction.forces - torch.from_numpy(np.concatenate([atoms.get_forces() for atoms in ethanols(5, seed=1)]))
    of_atoms = prediction.forces_std.square().mean(1, keepdim=True).sqrt()
    assert found == pytest.approx((error / of_atoms).square().mean().sqrt().item(), rel=1e-4)
    alone = Ensemble([*ensemble.members][:1])
    assert outcome.knowing_itself(alone, Scale(score="nll", largest=1e6), prepared).calibration == Calibration()
    (prepared / "valid.extxyz").write_text("")
    assert outcome.knowing_itself(ensemble, Scale(score="nll", largest=1e6), prepared).calibration == Calibration()


def test_without_a_validation_set_there_is_the_cost_of_training_only(ensemble, tmp_path):
    (tmp_path / "valid.extxyz").touch()
    assert set(outcome.measure(ensemble, tmp_path, train_wall_s=3.0)) == {"n_parameters", "train_wall_s"}


@pytest.fixture
def train(tmp_path, monkeypatch, capfd):
    """Trains for an epoch on mine.extxyz; returns exit code and errors."""
    words = ["data=extxyz", "data.path=mine.extxyz", "ensemble=single", "trainer.max_epochs=1", "network.hidden=[4]", "tracking=none"]
    monkeypatch.chdir(tmp_path)

    def run(*more):
        monkeypatch.setattr("sys.argv", ["nnpx", "train", *words, *more])
        return cli.main(), capfd.readouterr().err

    return run


def test_training_writes_its_outcome(tmp_path, train):
    write(tmp_path / "mine.extxyz", ethanols(40))
    assert train()[0] == 0
    training = json.loads((tmp_path / "models" / "training.json").read_text())
    assert set(training["outcome"]) == {"valid/energy_per_atom_mae", "valid/forces_mae", "us_per_atom", "n_parameters", "train_wall_s"}
    assert training["outcome"]["train_wall_s"] == training["wall_s"]


def test_energies_with_error_bars_are_trained_on_by_likelihood_without_any_other_width(tmp_path, train):
    with_forces, structures = ethanols(40), ethanols(40)
    for atoms in [*with_forces, *structures]:
        atoms.info["bar"] = 0.02
    for atoms in structures:
        atoms.calc.results.pop("forces")
    write(tmp_path / "mine.extxyz", structures)
    code, err = train("loss=nll")
    assert code == 2
    assert "no error bars" in err
    assert train("loss=nll", "data.keys.energy_std=bar")[0] == 0
    write(tmp_path / "mine.extxyz", with_forces)
    code, err = train("loss=nll", "data.keys.energy_std=bar")
    assert code == 2
    assert "error bars of the energies alone" in err


def test_a_run_is_named_by_what_varies_and_otherwise_by_its_experiment(monkeypatch):
    config = {"name": "quickstart", "seed": 1}
    assert (choices.run_name(config), choices.run_tags(config)) == ("quickstart", {"seed": "1"})
    monkeypatch.setenv(choices.CHOICES_VARIABLE, '{"descriptor": "acsf", "seed": "1"}')
    assert choices.run_name(config) == "descriptor=acsf seed=1"
    assert choices.run_tags(config) == {"seed": "1", "choices": '{"descriptor": "acsf", "seed": "1"}'}
