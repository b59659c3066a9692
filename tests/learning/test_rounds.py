"""What happens to walkers and data in a round that is not an ordinary one."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Octahedron
from ase.io import read, write
from learning.loops import config, loop, under_versions
from rich.console import Console

from nnpx.artifact import load
from nnpx.errors import ConfigError, DataError, ReferenceEngineError
from nnpx.learning.dataset import write_version
from nnpx.learning.journal import Journal
from nnpx.learning.remembering import Memory
from nnpx.learning.stopping import Stopping
from nnpx.learning.view import View
from nnpx.locks import alone
from nnpx.tracking import Silent
from nnpx.verbs import run_verb

ONE = "learning.stopping.max_rounds=1"
pytestmark = pytest.mark.usefixtures("project")


def walked(project: Path, number: int = 1) -> dict[str, object]:
    return json.loads((project / f"learn/round_{number:02d}/walkers.json").read_text())


def test_a_walker_that_explodes_is_absurd_and_goes_back_and_nothing_of_it_is_labelled(project: Path) -> None:
    """A time step of half a picosecond tears everything apart."""
    loop(project, ONE, "learning.walkers.timestep_fs=500.0", "learning.walkers.round_ps=2.0", "learning.walkers.look_every_fs=500.0").run(
        lambda rows: None
    )
    met = walked(project)
    assert {walker["fate"] for walker in met["walkers"]} <= {"absurd", "lost"}
    assert all(np.isfinite(met["uncertainty"]))
    for name in ("candidates", "drawn", "selected"):
        path = project / f"learn/round_01/{name}.extxyz"
        for atoms in read(path, ":") if path.stat().st_size else []:
            distances = atoms.get_all_distances() + 10 * np.eye(len(atoms))
            assert distances.min() > 0.6
            assert distances.min(1).max() < 5.0


def test_walkers_move_where_the_trainer_computes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnpx.trainer.loop.Trainer.device", lambda self: "there")
    monkeypatch.setattr("nnpx.artifact.load", lambda path, device: pytest.fail(f"asked for {device}"))
    one = loop(project)
    with pytest.raises(pytest.fail.Exception, match="asked for there"):
        one._walk(one.place(0), one.place(1), 1)


@pytest.mark.slow
def test_walkers_whose_uncertainty_leaves_the_band_wait_at_the_last_look_that_was_right(project: Path) -> None:
    """8 fs before the look at which they were lost; at the beginning, where that was the first."""
    loop(project, ONE, "trainer.max_epochs=20", "acquisition.band.upper_factor=2.0").run(lambda rows: None)
    lost = [walker for walker in walked(project)["walkers"] if walker["fate"] == "lost"]
    assert any(walker["walked_ps"] > 0 for walker in lost)
    for walker in lost:
        assert walker["time_ps"] == pytest.approx(max(0.0, walker["walked_ps"] - 0.008))
    report = json.loads((project / "learn/round_01/report.json").read_text())
    assert report["fates"]["lost"] == len(lost)


def test_walkers_far_from_training_wait_however_much_the_members_agree(project: Path) -> None:
    """The start at 300 K, the walkers at 3000 K, and an upper end of the spread that nothing reaches."""
    hot = ("learning.walkers.temperatures_K=[3000.0]", "acquisition.band.upper_factor=1e9", "acquisition.band.distance_factor=2.0")
    one = loop(project, ONE, *hot)
    one._begin()
    one._walk(one.place(0), one.place(1), 1)
    met = walked(project)["walkers"]
    foreign = [walker for walker in met if walker["fate"] == "on foreign ground"]
    assert any(walker["walked_ps"] > 0.008 for walker in foreign)
    for walker in foreign:
        assert walker["time_ps"] == pytest.approx(max(0.0, walker["walked_ps"] - 0.008))
        assert walker["n_candidates"] > 0
        last = read(project / f"learn/round_01/walkers/{walker['name']}.extxyz")
        assert (last.info["fate"], last.info["time_fs"]) == ("on foreign ground", pytest.approx(1000 * walker["walked_ps"]))


@pytest.mark.slow
def test_a_walker_with_enough_candidates_is_paused(project: Path) -> None:
    loop(project, ONE, "learning.walkers.max_candidates=2").run(lambda rows: None)
    assert all(walker["n_candidates"] <= 2 for walker in walked(project)["walkers"])
    assert "paused" in {walker["fate"] for walker in walked(project)["walkers"]}


@pytest.mark.slow
def test_a_walker_on_which_a_force_is_beyond_the_bound_is_absurd(project: Path) -> None:
    loop(project, ONE, "learning.walkers.watchdog.max_force=0.001").run(lambda rows: None)
    assert {walker["fate"] for walker in walked(project)["walkers"]} == {"absurd"}
    assert walked(project)["n_candidates"] == 0


@pytest.mark.slow
def test_an_element_that_only_a_walker_has_is_labelled_first_and_then_known(project: Path) -> None:
    copper, gold = Octahedron("Cu", 2), Octahedron("Cu", 2)
    gold.symbols[0] = "Au"
    write(project / "walkers.extxyz", [copper, copper, gold])
    loop(project, "learning.walkers.structures=walkers.extxyz").run(lambda rows: None)
    fates = [walker["fate"] for walker in walked(project)["walkers"]]
    assert fates[2] == "unknown element"
    assert {atoms.info["why"] for atoms in read(project / "learn/round_01/labelled.extxyz", ":")} >= {"new"}
    assert load(project / "learn/round_00/potential.nnpx").numbers == [29]
    assert load(project / "learn/round_01/potential.nnpx").numbers == [29, 79]
    assert "Au" in json.loads((project / "learn/round_01/data/card.json").read_text())["isolated_atoms"]
    assert walked(project, 2)["walkers"][2]["fate"] != "unknown element"


def test_a_single_potential_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="disagree"):
        loop(project, ONE, "ensemble=single")


def test_a_rule_about_a_calibrated_spread_is_refused_where_nothing_calibrates_it(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"learning.stopping.spread_q99.*uncertainty=none"):
        loop(project, ONE, "uncertainty=none")
    rows, _ = loop(project, ONE, "uncertainty=none", "learning.stopping.spread_q99=null").run(lambda rows: None)
    assert rows[0]["spread_q99"] is None


def test_a_potential_that_is_kept_is_calibrated_on_what_is_new_to_validate_with(project: Path) -> None:
    """Nothing is chosen, so that nothing is trained; frames that were drawn make the validation set larger."""
    rows, _ = loop(project, ONE, "acquisition.n_selected=1", "acquisition.band.floor=100.0").run(lambda rows: None)
    assert (rows[0]["n_labelled"], rows[0]["n_valid"]) == (2, 5)
    before, after = (load(project / f"learn/round_0{number}/potential.nnpx") for number in (0, 1))
    assert after.calibration != before.calibration
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert one.equal(other)


def test_a_mistake_that_is_found_before_anything_was_computed_may_be_corrected(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First a file that is not there, then an engine that fails when the start is examined."""
    with pytest.raises(DataError):
        loop(project, ONE, "data.path=missing.extxyz")
    one = loop(project, ONE)
    (project / "outage").touch()
    with monkeypatch.context() as patch:
        patch.setenv("NNPX_TEST_OUTAGE", str(project / "outage"))
        with pytest.raises(ReferenceEngineError, match="no licence"):
            one.run(lambda rows: None)
    loop(project, ONE, "seed=1")._begin()
    with pytest.raises(ConfigError, match="those of another"):
        loop(project, ONE)


def test_two_loops_do_not_work_in_one_folder(project: Path) -> None:
    """The lock of a process that was killed is gone with it."""
    child = os.fork()
    if child == 0:
        try:
            with alone(project / "learn", on="this loop", do=""):
                (project / "locked").touch()
                time.sleep(60)
        finally:
            os._exit(0)
    try:
        while not (project / "locked").is_file():
            time.sleep(0.05)
        with pytest.raises(ConfigError, match="one that runs"):
            run_verb("learn", config(ONE), project, alone=True)
        assert not (project / "learn/journal.jsonl").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with alone(project / "learn", on="this loop", do=""):
        pass


def test_a_loop_that_cannot_pay_for_its_start_is_refused_before_a_calculation(project: Path) -> None:
    """14 structures and a lone atom are labelled; one structure is labelled again and displaced twice."""
    for max_calls in (1, 18):
        with pytest.raises(ConfigError, match="18 calculations"):
            loop(project, f"learning.stopping.max_calls={max_calls}").run(lambda rows: None)
    assert not (project / "learn/round_00/calls.jsonl").exists()
    rows, verdict = loop(project, "learning.stopping.max_calls=19").run(lambda rows: None)
    assert len(rows) == 1
    assert verdict == f"spent: {rows[0]['n_calls']} calculations"


@pytest.mark.slow
def test_rounds_that_nobody_was_told_of_reach_the_record_later(workspace: Path) -> None:
    from tracking.stores import tracker

    forgetful = Memory(Silent(workspace=workspace), loop(workspace, ONE))
    forgetful.begin(workspace)
    forgetful._loop.run(forgetful.tell)
    store = tracker(workspace)
    memory = Memory(store, loop(workspace, ONE))
    with memory.run:
        memory.begin(workspace)
        memory._loop.run(memory.tell)
    runs = store.store.client.search_runs([run_experiment(store)])
    assert "round 1" in {run.info.run_name for run in runs}
    assert all(run.data.params for run in runs if run.info.run_id == memory.run.id)


def test_a_version_is_committed_also_where_git_ignores_the_data_already(project: Path) -> None:
    under_versions(project)
    (project / ".gitignore").write_text("/learn/*\n!/learn/*.dvc\n")
    write_version(loop(project, ONE).place(0).data, project, "Learn: data of the start")
    done = subprocess.run(["git", "log", "--format=%s", "--stat", "-1"], cwd=project, check=True, capture_output=True, text=True).stdout
    assert "Learn: data of the start" in done
    assert "learn/dataset.extxyz.dvc" in done


@pytest.mark.slow
def test_every_round_is_a_commit_of_a_new_version(project: Path) -> None:
    under_versions(project)
    (project / "mine.txt").write_text("not yet to be committed")
    subprocess.run(["git", "add", "mine.txt"], cwd=project, check=True)
    loop(project).run(lambda rows: None)
    log = subprocess.run(["git", "log", "--format=%s", "--stat"], cwd=project, check=True, capture_output=True, text=True).stdout
    assert "Learn: data of round 1" in log
    assert "Learn: data of round 2" in log
    assert "mine.txt" not in log
    subprocess.run(["git", "checkout", "--quiet", "HEAD~1", "--", "learn/dataset.extxyz.dvc"], cwd=project, check=True)
    subprocess.run(["dvc", "checkout", "--quiet", "learn/dataset.extxyz.dvc"], cwd=project, check=True, capture_output=True)
    after = json.loads((project / "learn/round_01/data/card.json").read_text())["counts"]
    assert len(read(project / "learn/dataset.extxyz", ":")) == sum(after.values())


@pytest.mark.slow
def test_every_round_is_a_run_nested_below_that_of_the_loop(workspace: Path) -> None:
    from tracking.stores import tracker

    one, store = loop(workspace), tracker(workspace)
    memory = Memory(store, one)
    with memory.run:
        memory.begin(workspace)
        rows, _ = one.run(memory.tell)
        again = Memory(store, loop(workspace))
        again.tell(rows)
    runs = store.store.client.search_runs([run_experiment(store)])
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == memory.run.id]
    assert sorted(run.info.run_name for run in children) == ["round 1", "round 2"]
    for run in children:
        assert run.data.metrics["n_calls"] == rows[int(run.info.run_name[-1]) - 1]["n_calls"]
        drawn = {item.path for item in store.store.client.list_artifacts(run.info.run_id, "figures")}
        assert {"figures/uncertainty.svg", "figures/walkers.svg", "figures/errors.svg"} <= drawn
    (parent,) = [run for run in runs if run.info.run_id == memory.run.id]
    assert len(store.store.client.get_metric_history(parent.info.run_id, "force_rmse")) == 2
    assert [item.path for item in store.store.client.list_artifacts(parent.info.run_id, "figures")] == ["figures/learning_curve.svg"]


def run_experiment(store: object) -> str:
    return str(store.store.client.get_experiment_by_name(store.store.experiment).experiment_id)


def test_a_loop_ends_when_all_targets_were_met_so_many_rounds_in_a_row_or_when_it_is_spent() -> None:
    rules = {"candidate_fraction": 0.01, "spread_q99": 0.3, "force_rmse": 0.1, "patience": 2, "max_rounds": 4, "max_calls": 100}
    good = {
        "candidate_fraction": 0.0,
        "spread_q99": 0.2,
        "force_rmse": 0.05,
        "n_calls": 10,
        "walked_ps": 1.0,
        "n_labelled": 0,
        "n_failed": 0,
    }
    stopping = Stopping(**rules)
    assert stopping.verdict([]) == ""
    assert stopping.verdict([good]) == ""
    assert stopping.verdict([good, {**good, "force_rmse": 0.2}]) == ""
    assert stopping.verdict([good, {**good, "force_rmse": None}]) == ""
    assert stopping.verdict([{**good, "spread_q99": 1.0}, good, good]).startswith("learned")
    assert stopping.verdict([{**good, "n_calls": 100, "spread_q99": 1.0}]) == "spent: 100 calculations"
    assert stopping.verdict([{**good, "spread_q99": 1.0}] * 4) == "spent: 4 rounds"
    assert stopping.verdict([good, {**good, "walked_ps": 0.0}]).startswith("stuck")


def test_a_journal_forgets_a_phase_whose_file_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "learn" / "file"

    def work() -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text("made")

    journal = Journal(tmp_path / "learn")
    assert [journal.phase(1, "data", [path], work) for _ in range(2)] == [True, False]
    path.write_text("spoiled")
    assert not Journal(tmp_path / "learn").has(1, "data")


@pytest.mark.parametrize(("certain", "colours"), [(0.1, ["green", "yellow", "red"]), (0.4, ["green", "green", "red"])])
def test_a_walker_is_shown_green_up_to_the_lower_end_of_the_band(certain: float, colours: list[str]) -> None:
    view = View(Console(quiet=True))
    for level in (0.05, 0.3, 2.0):
        view.walk(0.5, {"300K-0": (level, "")}, certain=certain)
    (line,) = view._walkers().columns[1].cells
    assert [str(span.style) for span in line.spans] == colours
