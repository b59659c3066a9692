"""The runs of a sweep in MLflow: one for the sweep, made before any job, and below it one for each job, named by what varies."""

import pytest
from mlflow import MlflowClient

from nnpx.comparison.runs import rows_of

#: a training that remembers itself as the real one does
REMEMBERED = """from nnpx import choices
    from nnpx.config import instantiate
    tracker = instantiate(config.tracking, workspace=workspace)
    tracker.prepare()
    with tracker.start(choices.run_name(config), parent=None, tags=choices.run_tags(config)) as run:
        run.log_params({"network": config.network, "seed": config.seed})
        run.log_metrics({"valid/forces_mae": 0.01 * (1 + config.seed)}, step=0)"""


@pytest.fixture
def runs(project, monkeypatch):
    """All runs by name, after a sweep."""
    project.hook(REMEMBERED)
    code, _, err = project.run("train", "-m", "network=per_species,mlp", "seed=0,1", "hydra/launcher=joblib")
    assert (code, err) == (0, "")
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("DVC_ROOT", str(project.folder))
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@pytest.mark.slow
def test_a_sweep_is_a_run_with_its_answer_and_its_jobs_are_nested_below_it(runs, project):
    client, found = runs
    parent = found.pop("quickstart: network × seed")
    assert set(found) == {f"network={network} seed={seed}" for network in ("per_species", "mlp") for seed in (0, 1)}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert all(parent.info.start_time <= run.info.start_time for run in found.values())
    assert {run.info.status for run in [parent, *found.values()]} == {"FINISHED"}
    files = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "table.md", "table.csv", "figure.svg"} <= files
    assert parent.data.params["trainer.max_epochs"] == "80"
    assert "seed" not in parent.data.params
    rows = rows_of([parent.info.run_id[:10]], project.folder)
    assert [(dict(row.choices), row.found) for row in sorted(rows, key=lambda row: row.name)] == [
        ({"network": network, "seed": str(seed)}, {"valid/forces_mae": 0.01 * (1 + seed)})
        for network in ("mlp", "per_species")
        for seed in (0, 1)
    ]
