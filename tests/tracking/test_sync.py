"""What MLflow missed reaches the run that it belongs to, every record once, whatever dies on the way."""

import json
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from tracking.stores import FakeClient, silent, tracker

from nnpx import runs
from nnpx.commands import sync as command
from nnpx.files import md5
from nnpx.tracking.journal import Journal
from nnpx.tracking.sync import sync, waiting

N_STEPS = 5


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def project(tmp_path: Path, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "NNPX_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "project_tracker", lambda folder: connected(folder, client))
    return tmp_path


def connected(project: Path, client: FakeClient):
    track = tracker(project, uri="http://server")
    track.store.__dict__["client"] = client
    return track


def train_offline(project: Path, client: FakeClient) -> tuple[str, str]:
    """An ensemble of one member whose store is silent all the time; the ids that it knows."""
    client.fails = silent
    track = connected(project, client)
    (project / "models").mkdir()
    (project / "models" / "potential.nnpx").write_text("weights")
    with track.start("ensemble", parent=None, tags={}) as run, track.start("member", parent=run.id, tags={}) as member:
        run.log_params({"cutoff": 5.0})
        run.log_text("seed: 0", "config.yaml")
        run.set_tag("colour", "red")
        for step in range(N_STEPS):
            member.log_metrics({"loss": 1.0 / (1 + step), "nan": float("nan")}, step=step)
        run.log_model(project / "models" / "potential.nnpx", name="ethanol", alias="candidate")
    training = {"run_id": run.id, "members": [{"run_id": member.id}]}
    (project / "models" / "training.json").write_text(json.dumps(training))
    client.fails = lambda number, name, done: None
    return run.id, member.id


def check_complete(client: FakeClient) -> None:
    """One run of each, with everything in it once."""
    by_name = {run.info.run_name: run for run in client.runs.values()}
    assert sorted(run.info.run_name for run in client.runs.values()) == ["ensemble", "member"]
    run, member = by_name["ensemble"], by_name["member"]
    assert member.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert run.data.params == {"cutoff": "5.0"}
    assert run.data.tags["colour"] == "red"
    assert run.data.tags["file config.yaml"] == "seed: 0"
    assert run.data.tags["file model/potential.nnpx"] == "weights"
    assert {run.info.status, member.info.status} == {"FINISHED"}
    counts = Counter((key, step) for key, _, _, step in client.metrics[member.info.run_id])
    assert counts == {(key, step): 1 for key in ("loss", "nan") for step in range(N_STEPS)}
    assert len(client.versions) == 1
    assert client.aliases == {"candidate": "1"}


def test_runs_that_began_without_a_store_are_created_nested_and_complete(project, client, capsys):
    train_offline(project, client)
    assert client.runs == {}
    assert command.main([]) == 0
    check_complete(client)
    assert waiting(connected(project, client)) == []
    assert "records delivered as" in capsys.readouterr().out
    assert command.main([]) == 0
    assert "nothing waits" in capsys.readouterr().out
    check_complete(client)


def test_the_training_is_told_the_ids_that_its_runs_got(project, client):
    train_offline(project, client)
    command.main([])
    ids = {run.info.run_name: run_id for run_id, run in client.runs.items()}
    assert json.loads((project / "models" / "training.json").read_text()) == {
        "run_id": ids["ensemble"],
        "members": [{"run_id": ids["member"]}],
    }


def test_a_training_that_dvc_has_locked_stays_as_it_is_and_is_found_by_its_old_id(project, client):
    began_as, _ = train_offline(project, client)
    path = project / "models" / "training.json"
    (project / "dvc.lock").write_text(f"outs: [{{path: models/training.json, md5: {md5(path)}}}]")
    command.main([])
    assert began_as in path.read_text()
    with connected(project, client).resume(began_as) as run:
        run.log_metrics({"test/forces_mae": 0.1}, step=0)
    assert client.runs[run.id].info.run_name == "ensemble"
    assert [key for key, *_ in client.metrics[run.id]] == ["test/forces_mae"]


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("problem", [Killed, ConnectionError], ids=["killed", "silent again"])
def test_a_delivery_that_is_broken_off_anywhere_and_done_again_delivers_everything_once(project, client, after, problem):
    train_offline(project, client)
    failed_at, last = 0, 0

    def fail_later_each_time(number: int, name: str, done: bool) -> None:
        nonlocal failed_at
        if done == after and number > last + failed_at:
            failed_at += 1
            raise problem("gone")

    client.fails = fail_later_each_time
    for _attempt in range(200):
        last = client.calls
        try:
            outcomes = sync(connected(project, client), waiting(connected(project, client)))
        except Killed:
            continue
        if outcomes and all(one.run_id for one in outcomes):
            break
    assert failed_at > 20
    check_complete(client)


def test_what_is_added_while_it_is_delivered_is_delivered_too(project, client):
    began_as, _ = train_offline(project, client)
    late = [{"do": "tag", "key": "late", "value": "yes"}]

    def add(number: int, name: str, done: bool) -> None:
        if name == "set_terminated" and done and late:
            Journal(project / ".nnpx" / "tracking", began_as).append([late.pop()])

    client.fails = add
    command.main([])
    assert next(run for run in client.runs.values() if run.info.run_name == "ensemble").data.tags["late"] == "yes"
    assert waiting(connected(project, client)) == []


def test_a_line_that_a_full_disk_cut_short_does_not_spoil_the_others(project, client):
    journal = Journal(project, "run")
    journal.append([{"do": "tag", "key": "a", "value": "1"}])
    with journal.path.open("a") as file:
        file.write('{"do": "tag", "key": "b"')
    journal.append([{"do": "tag", "key": "c", "value": "3"}])
    assert [record["key"] for record in journal.read()[0]] == ["a", "c"]


def test_a_file_that_changed_or_is_gone_is_said_and_not_replaced_by_another(project, client, capsys):
    train_offline(project, client)
    (project / "models" / "potential.nnpx").write_text("other weights")
    assert command.main([]) == 0
    assert "file: potential.nnpx is not the file any more that the run wrote" in capsys.readouterr().out
    assert all("file model/potential.nnpx" not in run.data.tags for run in client.runs.values())


def test_what_belongs_to_another_store_or_a_run_that_is_gone_stays_in_the_journal(project, client, capsys):
    with connected(project, client).start("run", parent=None, tags={}) as run:
        client.fails = silent
        run.log_metrics({"loss": 1.0}, step=0)
    client.fails = lambda number, name, done: None
    kept = client.runs.pop(run.id)
    assert command.main([]) == 1
    assert f"no run {run.id}" in capsys.readouterr().out
    client.runs[run.id] = kept
    journal = project / ".nnpx" / "tracking" / f"{run.id}.jsonl"
    here = journal.read_text()
    journal.write_text(here.replace("http://server", "http://elsewhere"))
    assert command.main([run.id[:6]]) == 1
    assert "belong to http://elsewhere, the project's store is http://server" in capsys.readouterr().out
    journal.write_text(here)
    assert command.main([]) == 0
    assert [key for key, *_ in client.metrics[run.id]] == ["loss"]


def test_a_model_that_arrives_late_does_not_replace_a_newer_candidate(project, client):
    train_offline(project, client)
    with connected(project, client).start("newer", parent=None, tags={}) as run:
        client.runs[run.id].info.start_time += 1000
        run.log_model(project / "models" / "potential.nnpx", name="ethanol", alias="candidate")
    command.main([])
    assert [version.run_id for version in client.versions][int(client.aliases["candidate"]) - 1] == run.id
    assert len(client.versions) == 2


def test_a_run_that_is_taken_up_again_first_delivers_what_came_before(project, client):
    _, began_as = train_offline(project, client)
    with connected(project, client).resume(began_as) as run:
        run.log_metrics({"later": 1.0}, step=0)
    assert [key for key, *_ in client.metrics[run.id]][-1] == "later"
    assert len(client.metrics[run.id]) == 2 * N_STEPS + 1


def _deliver(project: Path) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{project}/mlflow.db"
    track = tracker(project)
    sync(track, waiting(track))


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True], ids=["twice at once", "one of them killed"])
def test_two_processes_that_deliver_at_once_deliver_once(project, kill, empty_database):
    track = tracker(project, uri=f"sqlite:///{project}/mlflow.db")
    with tracker(project, uri=f"sqlite:////proc/none/{project.name}.db").start("run", parent=None, tags={}) as run:
        for step in range(300):
            run.log_metrics({"loss": float(step)}, step=step)
    (project / "mlflow.db").write_bytes(empty_database.read_bytes())
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_deliver, args=(project,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    if kill:
        while not track.store.find(run.id):
            pass
        os.kill(workers[0].pid, signal.SIGKILL)
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers][1] == 0
    real_id = track.store.find(run.id)
    history = track.store.client.get_metric_history(real_id, "loss")
    assert [point.step for point in history] == list(range(300))
    assert track.store.client.get_run(real_id).info.status == "FINISHED"
    assert waiting(track) == []
