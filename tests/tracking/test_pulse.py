"""A run whose process was killed is closed by the next command; one that is alive is left alone."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tracking.stores import FakeClient, silent, tracker

from nnpx.tracking import MLflow


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def track(tmp_path: Path, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> MLflow:
    for name in ("DVC_ROOT", "NNPX_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    made = tracker(tmp_path, uri="http://server")
    made.store.__dict__["client"] = client
    return made


def killed(work: Callable[[], object]) -> None:
    """Does the work in a process that is killed after it."""
    child = os.fork()
    if child == 0:
        try:
            kept = work()  # a run that nobody holds would be closed
            os.kill(os.getpid(), signal.SIGKILL)
            del kept
        finally:
            os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def started_and_killed(track: MLflow, client: FakeClient) -> str:
    """A run of this store, taken up by a process that is killed."""
    run = track.start("long", parent=None, tags={})
    run._pulse.end()  # this process has nothing to do with it
    killed(lambda: track.resume(run.id))
    assert client.runs[run.id].info.status == "RUNNING"
    return run.id


def test_the_next_command_closes_what_was_killed_as_of_when_it_was_last_heard_of(track: MLflow, client: FakeClient) -> None:
    run_id = started_and_killed(track, client)
    (pulse,) = (track.journals / "running").iterdir()
    os.utime(pulse, (1e9, 1e9))
    track.prepare()
    assert (client.runs[run_id].info.status, client.runs[run_id].info.end_time) == ("KILLED", 10**12)
    assert not list((track.journals / "running").iterdir())


def test_a_run_is_heard_of_whenever_it_sends_something(track: MLflow) -> None:
    with track.start("long", parent=None, tags={}) as run:
        (pulse,) = (track.journals / "running").iterdir()
        os.utime(pulse, (1e9, 1e9))
        run.log_metrics({"loss": 1.0}, step=0)
        assert abs(pulse.stat().st_mtime - time.time()) < 60
    assert not pulse.exists()


def test_a_run_that_is_alive_or_has_ended_is_left_alone(track: MLflow, client: FakeClient) -> None:
    with track.start("alive", parent=None, tags={}) as alive:
        track.start("broken off", parent=None, tags={}).finish("FAILED")
        for _ in range(2):
            killed(track.prepare)
            track.prepare()
            assert client.runs[alive.id].info.status == "RUNNING"
    track.prepare()
    assert [run.info.status for run in client.runs.values()] == ["FINISHED", "FAILED"]


def test_a_run_that_is_taken_up_again_after_a_kill_is_alive(track: MLflow, client: FakeClient) -> None:
    run_id = started_and_killed(track, client)
    track.prepare()
    with track.resume(run_id):
        track.prepare()
        assert client.runs[run_id].info.status == "RUNNING"
    assert client.runs[run_id].info.status == "FINISHED"


def test_a_silent_store_is_told_the_next_time(track: MLflow, client: FakeClient) -> None:
    run_id = started_and_killed(track, client)
    client.fails = silent
    track.prepare()
    client.fails = lambda number, name, done: None
    assert client.runs[run_id].info.status == "RUNNING"
    track.prepare()
    assert client.runs[run_id].info.status == "KILLED"


def test_what_a_killed_run_has_in_its_journal_is_delivered_before_it_is_closed(track: MLflow, client: FakeClient) -> None:
    client.fails = silent

    def offline() -> object:
        run = track.start("offline", parent=None, tags={})
        run.log_params({"cutoff": 5.0})
        return run

    killed(offline)
    client.fails = lambda number, name, done: None
    track.prepare()
    (run,) = client.runs.values()
    assert (run.info.run_name, run.info.status, run.data.params) == ("offline", "KILLED", {"cutoff": "5.0"})


def test_a_run_that_was_deleted_is_forgotten(track: MLflow, client: FakeClient) -> None:
    del client.runs[started_and_killed(track, client)]
    track.prepare()
    assert client.runs == {}
    assert not list((track.journals / "running").iterdir())
