"""Whatever happens to the disk, the clock, the database or the server: training goes on and no record is lost."""

import json
import logging
import multiprocessing
import os
import resource
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking.stores import FakeClient, silent, tracker

from nnpx.tracking import MLflow
from nnpx.tracking.sync import sync, waiting

N_WRITERS = 16


def steps(track: MLflow, run_id: str, key: str = "loss") -> list[int]:
    return [point.step for point in track.store.client.get_metric_history(run_id, key)]


def _write(track: MLflow, number: int, n_steps: int) -> None:
    with track.start(f"writer {number}", parent=None, tags={"writer": str(number)}) as run:
        run.log_params({"number": number})
        for step in range(n_steps):
            run.log_metrics({"loss": 1.0 / (1 + step), "other": float(step)}, step=step)
            run.flush()


def write_together(track: MLflow, n_steps: int) -> None:
    """Sixteen processes, each with a run of its own, all at once."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(track, number, n_steps)) for number in range(N_WRITERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(500)
    assert [worker.exitcode for worker in workers] == [0] * N_WRITERS
    sync(track, waiting(track))


def check_all_there(track: MLflow, n_steps: int) -> None:
    client = track.store.client
    runs = client.search_runs([track.store.experiment_id()], "tags.writer LIKE '%'", max_results=1000)
    assert sorted(int(run.data.tags["writer"]) for run in runs) == list(range(N_WRITERS))
    for run in runs:
        assert run.data.params == {"number": run.data.tags["writer"]}
        assert run.info.status == "FINISHED"
        assert steps(track, run.info.run_id) == list(range(n_steps))
        assert steps(track, run.info.run_id, "other") == list(range(n_steps))


@pytest.mark.slow
def test_sixteen_processes_that_write_to_one_database_lose_nothing(workspace: Path) -> None:
    track = tracker(workspace, timeout_s=10)
    track.prepare()
    write_together(track, n_steps=25)
    check_all_there(track, n_steps=25)


def test_a_database_that_another_process_locks_for_seconds_is_waited_for(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tracker(workspace).start("run", parent=None, tags={})
    lock = sqlite3.connect(workspace / "mlflow.db", isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    threading.Timer(3.0, lambda: lock.execute("COMMIT")).start()
    started = time.monotonic()
    run.log_metrics({"loss": 1.0}, step=0)
    assert time.monotonic() - started > 2.0
    run.finish()
    lock.close()
    assert steps(tracker(workspace), run.id) == [0]
    assert caplog.text == ""


@pytest.mark.slow
def test_a_database_that_stays_locked_is_served_later(workspace: Path) -> None:
    run = tracker(workspace).start("run", parent=None, tags={})
    with sqlite3.connect(workspace / "mlflow.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        run.log_metrics({"loss": 1.0}, step=0)
        run.log_metrics({"loss": 0.5}, step=1)
        assert waiting(tracker(workspace)) == [run.id]
        lock.execute("COMMIT")
    run.finish()
    assert steps(tracker(workspace), run.id) == [0, 1]
    assert waiting(tracker(workspace)) == []


def test_a_clock_that_jumps_back_neither_loses_nor_reorders_a_curve(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = tracker(workspace)
    run = track.start("run", parent=None, tags={})
    real = time.time_ns
    for step in range(6):
        if step == 3:
            monkeypatch.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
        run.log_metrics({"loss": 1.0 / (1 + step)}, step=step)
        time.sleep(0.002)
    run.finish()
    assert steps(track, run.id) == list(range(6))
    info = track.store.client.get_run(run.id).info
    assert info.end_time >= info.start_time


def test_a_full_disk_is_told_once_and_the_run_goes_on_from_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()
    track = tracker(tmp_path, uri="http://server", retry_every_s=0.0)
    track.store.__dict__["client"] = client
    run = track.start("run", parent=None, tags={})
    folder = tmp_path / ".nnpx" / "tracking"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run.id}.jsonl").symlink_to("/dev/full")
    client.fails = silent
    for step in range(4):
        run.log_metrics({"loss": 1.0}, step=step)
    assert caplog.text.count("No space left on device") == 1
    (folder / f"{run.id}.jsonl").unlink()
    client.fails = lambda number, name, done: None
    run.finish()
    assert [step for *_, step in client.metrics[run.id]] == [0, 1, 2, 3]
    assert client.runs[run.id].info.status == "FINISHED"


def _train_on_a_full_disk(workspace: Path, out: Path) -> None:
    import mlflow  # noqa: F401  what it writes when imported is not meant

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]  # the handler is the test's own
    logging.getLogger("nnpx").addHandler(handler)
    track = tracker(workspace)
    run = track.start("run", parent=None, tags={})
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # no file grows beyond this: what a full disk does
    for step in range(3):
        run.log_metrics({f"metric {k}": 1.0 for k in range(200)}, step=step)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.finish()
    out.write_text(json.dumps([run.id, messages]))


def test_a_database_that_cannot_grow_is_served_when_there_is_room_again(workspace: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_train_on_a_full_disk, args=(workspace, workspace / "out.json"))
    worker.start()
    worker.join(120)
    assert worker.exitcode == 0
    run_id, messages = json.loads((workspace / "out.json").read_text())
    assert [message.partition(" (")[0] for message in messages][:1] == ["MLflow does not answer"]
    assert len(messages) == 2
    assert steps(tracker(workspace), run_id, "metric 7") == [0, 1, 2]
    assert waiting(tracker(workspace)) == []


@pytest.fixture
def read_only(workspace: Path) -> Iterator[Path]:
    """A project that one may not write to; root, who always may, is somebody else meanwhile."""
    tracker(workspace).start("imports what is needed", parent=None, tags={}).finish()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o555)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(me)
            folder.chmod(0o755)


def test_a_read_only_project_is_told_once_and_the_run_goes_on(read_only: Path, caplog: pytest.LogCaptureFixture) -> None:
    track = tracker(read_only)
    track.prepare()
    with (
        track.start("ensemble", parent=None, tags={}) as run,
        track.start("one", parent=run.id, tags={}) as one,
        track.start("two", parent=run.id, tags={}) as two,
    ):
        for step in range(3):
            one.log_metrics({"loss": 1.0}, step=step)
            two.log_metrics({"loss": 1.0}, step=step)
    told = [record for record in caplog.records if record.name.startswith("nnpx") and record.levelno >= logging.WARNING]
    assert [record.getMessage().partition(" (")[0] for record in told][:1] == ["MLflow does not answer"]
    assert "cannot be written" in told[1].getMessage()
    assert len(told) == 2
