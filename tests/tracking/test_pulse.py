"""A run whose process was killed is closed by the next command; one that is alive is left alone."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tracking.stores import FakeClient, silent, tracker

from nnpx.tracking import MLflow
from nnpx.tracking.pulse import Pulse, dead


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
        run.set_tag("colour", "red")
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


def test_of_two_processes_that_write_a_run_one_is_enough(track: MLflow, client: FakeClient) -> None:
    with track.start("both", parent=None, tags={}) as run:
        killed(lambda: track.resume(run.id))
        track.prepare()
        assert client.runs[run.id].info.status == "RUNNING"
        assert len(list((track.journals / "running").iterdir())) == 2
    track.prepare()
    assert client.runs[run.id].info.status == "FINISHED"
    assert not list((track.journals / "running").iterdir())


def test_a_run_of_another_machine_is_its_own_affair(track: MLflow, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = started_and_killed(track, client)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("nnpx.tracking.pulse.platform.node", lambda: "elsewhere")
        track.prepare()
        assert client.runs[run_id].info.status == "RUNNING"
    track.prepare()
    assert client.runs[run_id].info.status == "KILLED"


@pytest.mark.parametrize("call", ["get_run", "set_terminated"])
def test_a_run_that_is_taken_up_while_it_is_closed_stays_alive(call: str, track: MLflow, client: FakeClient) -> None:
    run_id = started_and_killed(track, client)
    taken_up = []

    def meanwhile(number: int, name: str, done: bool) -> None:
        if name == call and not taken_up:
            taken_up.append(None)
            taken_up[0] = track.resume(run_id)

    client.fails = meanwhile
    track.prepare()
    assert client.runs[run_id].info.status == "RUNNING"
    taken_up[0].finish()
    assert client.runs[run_id].info.status == "FINISHED"


def test_no_run_that_begins_is_taken_for_a_dead_one(tmp_path: Path) -> None:
    """One process begins and ends runs, another one asks for the dead all the time."""
    child = os.fork()
    if child == 0:
        try:
            for k in range(2000):
                Pulse(tmp_path, f"{k:032x}").end()
        finally:
            os._exit(0)
    found: dict[str, float] = {}
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        found |= dead(tmp_path)
    assert found == {}


def test_where_files_cannot_be_locked_nothing_is_left(track: MLflow, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("nnpx.tracking.pulse.fcntl.flock", refused)
    with track.start("run", parent=None, tags={}) as run:
        track.prepare()
        assert not list((track.journals / "running").iterdir())
    assert client.runs[run.id].info.status == "FINISHED"


def test_a_run_that_was_deleted_is_forgotten(track: MLflow, client: FakeClient) -> None:
    del client.runs[started_and_killed(track, client)]
    track.prepare()
    assert client.runs == {}
    assert not list((track.journals / "running").iterdir())
