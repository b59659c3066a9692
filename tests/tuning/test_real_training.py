"""A search of real trainings, small as they are."""

import json

import pytest
from ase.io import write
from mlflow import MlflowClient
from small import ethanols

from nnpx import artifact, cli
from nnpx.config import compose

SMALL = (
    *("data=extxyz", "data.path=mine.extxyz", "ensemble=single", "network.hidden=[4]", "descriptor=acsf_narrow"),
    *("descriptor.angular.n_widths=2", "trainer.max_epochs=6", "schedule.warmup_steps=2"),
)
HYPERBAND = "tune.pruner={_target_: nnpx.tuning.pruners.Hyperband, min_epochs: 1, reduction_factor: 2}"


@pytest.mark.slow
def test_real_trainings_are_searched_pruned_recorded_and_promoted(project, monkeypatch, capfd):
    write(project / "mine.extxyz", ethanols(40))
    words = ["nnpx", "tune", "--config-dir", "conf", "tune=mine", "tune.n_trials=8", "tune.n_workers=2", HYPERBAND, *SMALL, "--promote"]
    monkeypatch.setattr("sys.argv", words)
    assert cli.main() == 0
    out, _ = capfd.readouterr()
    (folder,) = (project / ".nnpx" / "tune").iterdir()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("nnpx").experiment_id])
    (parent,) = [run for run in runs if "study" in run.data.tags]
    trials = {run.data.tags["trial"]: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert len(trials) == 8
    pruned = [run for run in trials.values() if run.info.status == "KILLED"]
    assert all(run.data.tags["pruned"].startswith("after epoch ") for run in pruned)
    assert out.count("stopped after epoch") == len(pruned) >= 1
    for number, run in trials.items():
        assert (folder / "trials" / number / "models" / "potential.nnpx").exists() == (run.info.status == "FINISHED")
        assert (folder / "trials" / number / "data").is_symlink()
    best = artifact.read_header(folder / "trials" / str(number_of_best(folder)) / "models" / "potential.nnpx")["config"]
    again = compose(["experiment=best"], project / "conf")
    assert again.optimizer.learning_rate == best["optimizer"]["learning_rate"]
    assert again.network.hidden == [4]


def number_of_best(folder):
    found = {
        path.parts[-3]: json.loads(path.read_text())["outcome"]["valid/forces_mae"] for path in folder.glob("trials/*/models/training.json")
    }
    return min(found, key=found.get)
