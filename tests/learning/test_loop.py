"""The loop ends where it would have ended, whenever it was killed; and what a round says is what happened."""

import contextlib
import io
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from learning.loops import after, chosen, commits, config, die, go_on, killed, loop, set_up, under_versions

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import write
from nnpx.errors import ConfigError, ReferenceEngineError
from nnpx.learning import dataset, training
from nnpx.learning.journal import Journal
from nnpx.learning.publishing import publish
from nnpx.learning.ways import read_frames
from nnpx.md.batched import BatchedDynamics
from nnpx.upstream import alone_with_data, is_current
from nnpx.verbs import run_verb

PHASES = ["walkers", "selected", "labels", "data", "version", "potential", "report"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of the tests are trusted, and workers are forked: a spawned one loads its libraries anew (test_label_check spawns)."""
    set_up(monkeypatch)


@pytest.fixture
def project(spoiled: Path) -> Path:
    """A loop that has its first potential, but has not walked."""
    return spoiled


def test_rounds_choose_from_the_candidates_and_learn_what_they_chose(finished: Path) -> None:
    report = json.loads((finished / "learn/round_02/report.json").read_text())
    before = json.loads((finished / "learn/round_01/report.json").read_text())
    assert report["n_calls_before"] == before["n_calls"]
    assert report["n_train"] + report["n_valid"] == before["n_train"] + before["n_valid"] + report["n_labelled"]
    assert before["n_valid"] == report["n_valid"] == 3 + 2  # of the start, and the two drawn last; the two before are trained on
    candidates = [atoms.positions.tolist() for atoms in read(finished / "learn/round_02/candidates.extxyz", ":")]
    selected = [atoms for atoms in read(finished / "learn/round_02/selected.extxyz", ":") if atoms.info["why"] == "chosen"]
    assert 0 < len(selected) <= 4
    assert all(atoms.positions.tolist() in candidates for atoms in selected)


def test_nothing_is_labelled_twice(finished: Path) -> None:
    calls = (finished / "count").read_text().splitlines()
    assert len(calls) > 20
    assert len(calls) - len(set(calls)) == 1  # the label of the start that was examined, which `nnpx label` had computed


def test_walkers_go_on_from_where_they_were(finished: Path) -> None:
    first, second = (json.loads((finished / f"learn/round_0{k}/walkers.json").read_text())["walkers"] for k in (1, 2))
    undisturbed = [pair for pair in zip(first, second, strict=True) if {walker["fate"] for walker in pair} <= {"arrived", "paused"}]
    assert undisturbed
    for one, two in undisturbed:
        assert two["time_ps"] == pytest.approx(one["time_ps"] + two["walked_ps"])
        assert two["walked_ps"] > 0


def test_a_finished_loop_does_nothing(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "learn").rglob("*") if path.is_file()}
    loop(finished).run(lambda rows: None)
    assert {path: path.stat().st_mtime_ns for path in (finished / "learn").rglob("*") if path.is_file()} == before


def test_more_rounds_may_be_asked_for_but_nothing_else_may_change(project: Path) -> None:
    loop(project, "learning.stopping.max_rounds=9", "executor.n_processes=2", "learning.walkers.keep_every_fs=null")
    for change in ("acquisition.n_selected=5", "ensemble.n_processes=2"):  # how many members train at once decides their threads
        with pytest.raises(ConfigError, match=rf"those of another, with another {change.partition('=')[0]}\. "):
            loop(project, change)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("moment", [pytest.param("before", marks=pytest.mark.slow), "after"])
def test_killed_at_the_end_of_a_phase(phase: str, moment: str, project: Path, finished: Path) -> None:
    """Before: the files lie there and the journal does not know. After: it does."""

    def prepare() -> None:
        original = Journal._add

        def add(journal: Journal, line: dict[str, object]) -> None:
            its = line.get("phase") == phase and line.get("round") == 1
            if its and moment == "before":
                die()
            original(journal, line)
            if its:
                die()

        Journal._add = add

    killed(project, prepare)
    go_on(project, finished, rounds=2 if phase in ("potential", "report") else 1)


def in_labelling() -> None:
    FinishedJobs.add = after(3, FinishedJobs.add)


def in_training() -> None:
    from nnpx.trainer.state import Checkpoint

    Checkpoint.save = after(3, Checkpoint.save)


def in_dynamics() -> None:
    BatchedDynamics.advance = after(4, BatchedDynamics.advance)


def at_the_artifact() -> None:
    training.artifact.save = die


def in_the_version() -> None:
    dataset.write = after(4, dataset.write)  # three parts, then the file that is versioned


@pytest.mark.parametrize("prepare", [in_labelling, in_training, in_dynamics, at_the_artifact, in_the_version])
def test_killed_within_a_phase(prepare: Callable[[], None], project: Path, finished: Path) -> None:
    killed(project, prepare)
    go_on(project, finished, rounds=1)


def test_killed_while_labelling_no_more_than_the_calculation_in_flight_is_done_again(project: Path, finished: Path) -> None:
    killed(project, in_labelling)
    go_on(project, finished, rounds=1)
    calls = (project / "count").read_text().splitlines()
    assert len(calls) - len(set(calls)) <= 1 + 3  # one job with its check, beside what is examined at the start


@pytest.mark.parametrize("call", [1, 2, 3], ids=["dvc add", "git add", "git commit"])
def test_killed_before_a_version_is_committed(call: int, project: Path, finished: Path) -> None:
    """Under DVC and git the round has one commit in the end, of what an undisturbed loop labelled."""
    under_versions(project)

    def prepare() -> None:
        dataset._call = after(call, dataset._call)

    killed(project, prepare)
    assert "round 1" not in commits(project)
    go_on(project, finished, rounds=1)
    assert commits(project).count("Learn: data of round 1") == 1


def test_half_a_line_of_the_journal_counts_as_none(project: Path, finished: Path) -> None:
    with (project / "learn/journal.jsonl").open("a") as file:
        file.write('{"round": 1, "phase": "walk')
    go_on(project, finished, rounds=1)


@pytest.mark.slow
def test_a_file_that_was_lost_is_made_again(project: Path, finished: Path) -> None:
    loop(project, "learning.stopping.max_rounds=1").run(lambda rows: None)
    (project / "learn/round_01/selected.extxyz").unlink()
    loop(project).run(lambda rows: None)
    assert chosen(project) == chosen(finished)


@pytest.mark.slow
def test_another_seed_walks_another_way(project: Path, finished: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / "learn")
    loop(project, "seed=1", "learning.stopping.max_rounds=1").run(lambda rows: None)
    one, two = (read(folder / "learn/round_01/drawn.extxyz", ":")[0].positions for folder in (project, finished))
    assert not np.allclose(one, two)


def test_after_an_outage_of_the_engine_the_same_command_goes_on(project: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outage = project / "outage"
    outage.touch()
    with monkeypatch.context() as patch:
        patch.setenv("NNPX_TEST_OUTAGE", str(outage))
        with pytest.raises(ReferenceEngineError, match="no licence"):
            loop(project).run(lambda rows: None)
    go_on(project, finished, rounds=1)


def test_what_a_loop_leaves_is_not_taken_for_the_data_of_the_experiment(finished: Path, tmp_path: Path) -> None:
    """`nnpx prepare` makes the data of the start anew; the same loop again puts what it learned back."""
    project, last, files = tmp_path / "project", "learn/round_02/data", ("train.extxyz", "valid.extxyz", "test.extxyz")
    shutil.copytree(finished, project)
    for _ in range(2):
        publish(loop(project).place(2), project, "")
        assert all((project / "data/prepared" / name).read_text() == (project / last / name).read_text() for name in files)
        assert not is_current("prepare", config(), project)
        run_verb("prepare", config(), project, alone=True)
        assert all((project / "data/prepared" / name).read_text() == (project / "learn/round_00/data" / name).read_text() for name in files)


def test_a_loop_that_ends_waits_for_what_works_on_the_data(finished: Path, tmp_path: Path) -> None:
    project, said, deadline = tmp_path / "project", io.StringIO(), time.monotonic() + 120
    shutil.copytree(finished, project)
    ending = threading.Thread(target=run_verb, args=("learn", config(), project), kwargs={"alone": True}, daemon=True)
    with contextlib.redirect_stdout(said), alone_with_data(project):
        ending.start()
        while "waits for the command" not in said.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "waits for the command" in said.getvalue()
        assert not (project / "models/potential.nnpx").exists()
    ending.join(60)
    assert (project / "models/potential.nnpx").is_file()


def test_a_structure_that_has_failed_is_not_chosen_again(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    one = loop(project)
    before, here = one.place(1), one.place(2)
    candidates = read(here.candidates, ":")
    write(here.drawn, [])
    write(here.candidates, candidates[:1])
    for tried in ([], candidates[:1]):
        write(before.selected, tried)
        one._select(before, here, 2)
        assert len(read_frames(here.selected)) == 1 - len(tried)


def test_the_file_of_all_structures_is_made_again_where_it_is_missing(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    whole = (project / dataset.LEARNED).read_text()
    (project / dataset.LEARNED).unlink()
    loop(project).run(lambda rows: None)
    assert (project / dataset.LEARNED).read_text() == whole
