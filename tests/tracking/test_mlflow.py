"""What the project remembers about a run is true, complete and survives workers, kills and silent stores."""

import json
import logging
import math
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tracking.stores import tracker

from nnpx.provenance import git_state, provenance, start_command
from nnpx.tracking import MLflow, Silent
from nnpx.tracking.records import PARAM_LENGTH, flatten
from nnpx.tracking.store import store_uri


def remembered(workspace: Path, run_id: str):
    return tracker(workspace).store.client.get_run(run_id)


def history(workspace: Path, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in tracker(workspace).store.client.get_metric_history(run_id, key)]


def test_a_run_keeps_its_parameters_curve_text_and_files(workspace: Path) -> None:
    (workspace / "parity.svg").write_text("<svg/>")
    track = tracker(workspace)
    track.prepare()
    with track.start("quickstart", parent=None, tags={"seed": "7"}) as run:
        run.log_params({"descriptor": {"cutoff": 6.0, "hidden": [64, 64]}, "name": "quickstart"})
        for epoch in range(3):
            run.log_metrics({"forces_mae": 1.0 / (1 + epoch), "stress_mae": None}, step=epoch)
        run.log_file(workspace / "parity.svg", "plots")
        run.log_text("seed: 7\n", "config.yaml")
    kept = remembered(workspace, run.id)
    assert kept.data.params == {"descriptor.cutoff": "6.0", "descriptor.hidden": "[64, 64]", "name": "quickstart"}
    assert kept.data.tags["seed"] == "7"
    assert kept.data.tags["nnpx_version"] != ""
    assert kept.info.run_name == "quickstart"
    assert kept.info.status == "FINISHED"
    assert history(workspace, run.id, "forces_mae") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert "stress_mae" not in kept.data.metrics
    artifacts = workspace / "mlartifacts" / "physics" / run.id / "artifacts"
    assert (artifacts / "plots" / "parity.svg").read_text() == "<svg/>"
    assert (artifacts / "config.yaml").read_text() == "seed: 7\n"


def test_a_member_is_nested_below_its_ensemble(workspace: Path) -> None:
    track = tracker(workspace)
    parent = track.start("ensemble", parent=None, tags={})
    member = track.start("member 0", parent=parent.id, tags={"ensemble_member": "0"})
    assert remembered(workspace, member.id).data.tags["mlflow.parentRunId"] == parent.id


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_is_broken_off_says_how(workspace: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracker(workspace).start("broken", parent=None, tags={}) as run:
        raise error
    assert remembered(workspace, run.id).info.status == status


def _log_in_worker(track: MLflow, run_id: str) -> None:
    with track.resume(run_id) as run:
        run.log_metrics({"loss": 0.5}, step=1)


def test_a_worker_process_writes_to_the_run_it_is_given(workspace: Path) -> None:
    track = tracker(workspace)
    track.prepare()
    run = track.start("member 3", parent=None, tags={})
    worker = multiprocessing.get_context("spawn").Process(target=_log_in_worker, args=(track, run.id))
    worker.start()
    worker.join(120)
    assert worker.exitcode == 0
    assert history(workspace, run.id, "loss") == [(1, 0.5)]


def test_a_used_tracker_can_be_sent_to_a_worker(workspace: Path) -> None:
    track = tracker(workspace)
    run = track.start("member", parent=None, tags={})
    again = pickle.loads(pickle.dumps(track)).resume(run.id)
    assert again.id == run.id


def test_metrics_wait_until_there_is_a_batch(workspace: Path) -> None:
    run = tracker(workspace, flush_every_s=1e6).start("patient", parent=None, tags={})
    for step in range(2500):
        run.log_metrics({"loss": float(step)}, step=step)
    assert history(workspace, run.id, "loss") == []
    run.finish()
    assert len(history(workspace, run.id, "loss")) == 2500


def test_a_killed_run_goes_on_under_its_id_and_a_finished_one_stays_finished(workspace: Path) -> None:
    track = tracker(workspace)
    run = track.start("long", parent=None, tags={})
    run.finish("KILLED")
    track.resume(run.id)
    assert remembered(workspace, run.id).info.status == "RUNNING"
    run.finish()
    ended = remembered(workspace, run.id).info.end_time
    with track.resume(run.id) as later:
        later.log_metrics({"test_forces_mae": 0.02}, step=0)
    assert remembered(workspace, run.id).info.end_time == ended
    assert history(workspace, run.id, "test_forces_mae") == [(0, 0.02)]


def test_a_run_that_the_store_lost_is_started_anew(workspace: Path) -> None:
    run = tracker(workspace).resume("0" * 32)
    assert run.id != "0" * 32
    assert remembered(workspace, run.id).data.tags["resumes"] == "0" * 32


def test_a_parameter_keeps_its_first_value(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tracker(workspace).start("steady", parent=None, tags={})
    run.log_params({"cutoff": 5.0})
    run.log_params({"cutoff": 6.0, "seed": 1})
    assert remembered(workspace, run.id).data.params == {"cutoff": "5.0", "seed": "1"}
    assert "cutoff: a parameter cannot change" in caplog.text


def test_more_parameters_than_one_batch_takes_and_longer_than_one_value_holds(workspace: Path) -> None:
    run = tracker(workspace).start("wide", parent=None, tags={})
    run.log_params({f"p{k}": k for k in range(250)} | {"long": "x" * 10_000})
    params = remembered(workspace, run.id).data.params
    assert len(params) == 251
    assert len(params["long"]) == PARAM_LENGTH


def test_flattening_names_every_leaf() -> None:
    flat = flatten({"a": {"b": {"c": 1}}, "none": None, "pair C-H": 0.5, "odd(key)": True, "empty": {}})
    assert flat == {"a.b.c": "1", "none": "null", "pair C-H": "0.5", "odd_key_": "true", "empty": "{}"}


def test_a_store_that_never_answers_does_not_stop_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    track = tracker(tmp_path, uri="http://127.0.0.1:9")
    track.prepare()
    with track.start("alone", parent=None, tags={}) as run:
        run.log_params({"cutoff": 6.0})
        run.log_metrics({"loss": math.pi}, step=0)
        run.log_metrics({"loss": math.e}, step=1)
    records = [json.loads(line) for line in (tmp_path / ".nnpx" / "tracking" / f"{run.id}.jsonl").read_text().splitlines()]
    assert [record["do"] for record in records] == ["store", "start", "params", "metrics", "metrics", "finish"]
    assert [record["metrics"][0][1] for record in records[3:5]] == [math.pi, math.e]
    assert caplog.text.count("does not answer") == 1
    with track.resume(run.id) as later:
        later.log_metrics({"loss": 1.0}, step=2)
    assert "1.0" in (tmp_path / ".nnpx" / "tracking" / f"{run.id}.jsonl").read_text()


def test_what_a_silent_store_missed_is_delivered_when_it_answers_again(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tracker(workspace).start("interrupted", parent=None, tags={})
    run.log_metrics({"loss": 2.0}, step=0)
    (workspace / "mlflow.db").rename(workspace / "away.db")
    (workspace / "mlflow.db").mkdir()  # nothing can be opened here now
    run._delivery._store.__dict__["client"]._tracking_client.store.engine.dispose()
    run.log_metrics({"loss": 1.0}, step=1)
    run.log_metrics({"loss": 0.5}, step=2)
    journal = workspace / ".nnpx" / "tracking" / f"{run.id}.jsonl"
    assert len(journal.read_text().splitlines()) == 3
    assert caplog.text.count("does not answer") == 1
    (workspace / "mlflow.db").rmdir()
    (workspace / "away.db").rename(workspace / "mlflow.db")
    run.finish()
    assert history(workspace, run.id, "loss") == [(0, 2.0), (1, 1.0), (2, 0.5)]
    assert remembered(workspace, run.id).info.status == "FINISHED"
    assert not journal.exists()


def test_a_missing_file_is_named_and_the_run_goes_on(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tracker(workspace).start("run", parent=None, tags={})
    run.log_file(workspace / "nowhere.svg")
    run.log_metrics({"loss": 1.0}, step=0)
    assert "nowhere.svg does not exist" in caplog.text
    assert history(workspace, run.id, "loss") == [(0, 1.0)]


def test_a_model_is_registered_under_an_alias_that_moves_to_the_newest(workspace: Path) -> None:
    track = tracker(workspace)
    (workspace / "potential.nnpx").write_bytes(b"weights")
    for _ in range(2):
        with track.start("train", parent=None, tags={}) as run:
            run.log_model(workspace / "potential.nnpx", name="ethanol", alias="candidate")
    version = track.store.client.get_model_version_by_alias("ethanol", "candidate")
    assert version.version == 2
    assert version.run_id == run.id
    assert version.source.endswith("model/potential.nnpx")


def test_the_store_is_absolute_and_follows_the_dvc_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert store_uri("sqlite:///runs/mine.db", tmp_path) == f"sqlite:///{tmp_path}/runs/mine.db"
    assert store_uri("sqlite:////data/mine.db", tmp_path) == "sqlite:////data/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert store_uri(None, tmp_path) == "http://localhost:5000"
    assert store_uri("sqlite:///mine.db", tmp_path) == f"sqlite:///{tmp_path}/mine.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    assert tracker(tmp_path / "copy").store.uri == f"sqlite:///{tmp_path}/project/mlflow.db"


def _prepare(workspace: Path) -> None:
    tracker(workspace).prepare()


@pytest.mark.slow
def test_processes_that_create_the_store_at_once_do_not_destroy_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workers = [multiprocessing.get_context("spawn").Process(target=_prepare, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
    assert not tracker(tmp_path).start("after", parent=None, tags={}).id.startswith("offline")


def test_the_silent_tracker_leaves_nothing(tmp_path: Path) -> None:
    track = Silent(workspace=tmp_path)
    track.prepare()
    with track.start("run", parent=None, tags={}) as run:
        run.log_params({"a": 1})
        run.log_metrics({"loss": 1.0}, step=0)
        run.log_file(tmp_path / "x")
        run.log_text("text", "x")
        run.log_model(tmp_path / "x", name="m", alias="candidate")
        run.set_tag("a", "b")
        run.flush()
    assert list(tmp_path.iterdir()) == []


def test_the_dashboard_command_is_short_in_the_project_and_complete_elsewhere(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(workspace / ".venv" / "bin" / "python"))
    command, address = tracker(workspace).dashboard()
    assert command == ".venv/bin/mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db"
    assert address.startswith("http://127.0.0.1:5000/#/experiments/")
    elsewhere = f"sqlite:///{workspace.parent}/runs.db"
    shutil.copy(workspace / "mlflow.db", workspace.parent / "runs.db")
    assert tracker(workspace, uri=elsewhere).dashboard()[0].endswith(elsewhere)
    assert tracker(workspace, uri="http://127.0.0.1:9").dashboard() == ["http://127.0.0.1:9"]
    assert Silent(workspace=workspace).dashboard() == []


def test_importing_the_tracker_does_not_import_mlflow() -> None:
    code = "import sys, nnpx.tracking; raise SystemExit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_provenance_names_commit_versions_and_processor_but_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    monkeypatch.setattr(sys, "argv", ["/home/me/.venv/bin/nnpx", "train", f"data.path={tmp_path}/mine.extxyz", "/secret/place/x.xyz"])
    assert start_command(tmp_path) == "nnpx train data.path=mine.extxyz x.xyz"
    record = provenance(tmp_path)
    assert record["git_commit"] == "none"
    assert {"python", "torch", "ase", "cpu", "platform", "command"} <= set(record)
    assert str(tmp_path) not in str(record)


def test_a_changed_tracked_file_makes_the_commit_dirty(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-C", str(tmp_path)]
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    assert git_state(tmp_path)["git_dirty"] == "no"
    assert len(git_state(tmp_path)["git_commit"]) == 40
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path)["git_dirty"] == "yes"


def test_the_log_level_of_mlflow_is_quiet(workspace: Path) -> None:
    tracker(workspace).prepare()
    assert logging.getLogger("alembic").level == logging.ERROR
