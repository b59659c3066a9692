"""The best trial becomes `experiment=best`, and the candidate of the registry."""

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

import nnpx
from nnpx.config import compose
from nnpx.configuration import resolvers
from nnpx.configuration.schema import plain
from nnpx.errors import ConfigError
from nnpx.tuning.best import write_best
from nnpx.tuning.space import overrides_of

CONF = Path(nnpx.__file__).parent.parent / "conf"
SPACE = (
    "tune.space={descriptor: {choices: [acsf, acsf_narrow]}, network.hidden: {choices: [[8], [16, 16]]}, "
    "optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true, type: float}}"
)


def content(words, folder=None):
    return {key: value for key, value in plain(compose(words, folder)).items() if key != "conf_hash"}


def test_the_experiment_best_is_the_winner_exactly(tune, studies, project):
    given = ["seed=7", "experiment=behler_parrinello", "optimizer.beta1=0.95"]
    code, out, _ = tune("parabola", SPACE, *given, "--promote")
    (study,) = studies(SPACE)
    best = project / "conf" / "experiment" / "best.yaml"
    assert code == 0
    assert f"promoted   conf/experiment/best.yaml: valid/forces_mae {study.best_value:.6g}" in out
    assert content(["experiment=best"], project / "conf") == content([*given, "tracking=none", *overrides_of(study.best_params)])
    first, second, *_ = best.read_text().splitlines()
    assert first == "# @package _global_"
    assert f"trial {study.best_trial.number} of {study.study_name}" in second


def test_without_the_word_nothing_is_promoted_and_later_it_takes_no_trial(tune, project):
    tune("parabola", "tune.n_trials=2")
    assert not (project / "conf" / "experiment").exists()
    out = tune("parabola", "tune.n_trials=2", "--promote")[1]
    assert "tune: trial" not in out
    assert (project / "conf" / "experiment" / "best.yaml").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["descriptor=acsf_narrow", "seed=3"],
        ["descriptor=acsf_set51", "radial=set51", "experiment=behler_parrinello", "network=mlp", "network.hidden=[8]"],
        ["md.nve.timestep_fs=0.25", "data.temperatures_K=[300.0]", "executor.n_processes=null", "name='it is mine'"],
        ["optimizer.learning_rate=0.1", "optimizer.learning_rate=1e-17", "++trainer.max_epochs=3"],
    ],
)
def test_any_overrides_make_the_same_experiment(words, tmp_path):
    path = write_best(words, None, tmp_path, "a test")
    assert path == tmp_path / "conf" / "experiment" / "best.yaml"
    assert content(["experiment=best"], tmp_path / "conf") == content(words)


def test_a_project_with_options_of_its_own_finds_it_without_a_word(tmp_path, monkeypatch):
    import shutil

    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.setattr(resolvers, "conf_dir", lambda: tmp_path / "conf")
    write_best(["descriptor=acsf_narrow"], None, tmp_path, "a test")
    assert content(["experiment=best"]) == content(["descriptor=acsf_narrow"])


def test_a_winner_that_builds_on_the_one_before_is_refused_before_the_search(tune, project):
    (project / "conf" / "experiment").mkdir()
    before = "# @package _global_\n# mine\nname: best\n"
    (project / "conf" / "experiment" / "best.yaml").write_text(before)
    code, out, err = tune("parabola", "experiment=best", "--promote")
    assert (code, out) == (2, "")
    assert err.startswith("error: experiment=best: expected a winner with another name")
    assert (project / "conf" / "experiment" / "best.yaml").read_text() == before


def test_what_a_file_cannot_hold_is_refused_and_the_old_file_stays(tmp_path):
    path = write_best(["seed=3"], None, tmp_path, "a test")
    before = path.read_text()
    with pytest.raises(ConfigError, match="a deletion"):
        write_best(["seed=4", "~md.nve"], None, tmp_path, "a test")
    assert path.read_text() == before


def test_the_record_of_a_search_is_one_run_with_its_figures_and_the_candidate(tune, studies, project):
    assert tune("tracked", "tracking=mlflow", "tune.n_trials=5", "--promote")[0] == 0
    assert tune("tracked", "tracking=mlflow", "tune.n_trials=6")[0] == 0
    (study,) = studies()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "nnpx"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "study" in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert (parent.data.tags["study"], parent.data.tags["sampler"]) == (study.study_name, "TPE")
    assert sorted(run.data.tags["trial"] for run in children) == ["0", "1", "2", "3", "4", "5"]
    history = client.get_metric_history(parent.info.run_id, "valid/forces_mae")
    assert [(point.step, point.value) for point in history] == [(trial.number, trial.value) for trial in study.get_trials()]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "figures", "config.yaml"} <= files
    candidate = client.get_model_version_by_alias("quickstart", "candidate")
    best = min((trial for trial in study.get_trials() if trial.number < 5), key=lambda trial: trial.value)
    assert candidate.run_id == best.user_attrs["run_id"]
    assert yaml.safe_load(json.dumps(parent.data.params))["space.optimizer.learning_rate.low"] == "0.0001"
