"""A search of known functions: what it finds, what it survives, and that it goes on where it was left."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from tuning_stubs import BEST

WIDE = "tune.space={optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true, type: float}, network.hidden: {choices: [[4], [8], [16]]}}"
EPOCHS = "tune.space={optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true, type: float}, trainer.max_epochs: {choices: [3, 9]}}"
BOTH = "tune.objectives={valid/forces_mae: minimize, us_per_atom: minimize}"
HYPERBAND = "tune.pruner={_target_: nnpx.tuning.pruners.Hyperband, min_epochs: 1, reduction_factor: 3}"
MEDIAN = "tune.pruner={_target_: nnpx.tuning.pruners.Median, n_startup_trials: 2, min_epochs: 1}"
NSGA2 = "tune.sampler={_target_: nnpx.tuning.samplers.NSGA2, seed: 0, population_size: 4}"
RANDOM = "tune.sampler={_target_: nnpx.tuning.samplers.Random, seed: 0}"


def states(study):
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def rates(study, *wanted):
    return [t.params["optimizer.learning_rate"] for t in study.get_trials(deepcopy=False) if not wanted or t.state.name in wanted]


def wait_for(what, patience_s=180):
    until = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


@pytest.fixture
def start(project):
    """Starts `nnpx tune tune=mine` in a process of its own."""
    started = []

    def run(stub, *words):
        command = [sys.executable, "-m", "tuning_stubs", "tune", "--config-dir", "conf", "tune=mine", "tracking=none", *words]
        paths = os.pathsep.join([str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)])
        environment = {**os.environ, "STUB": stub, "PYTHONPATH": paths}
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it, and their children would
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def begun(project):
    """The processes of the trials that wait, by trial."""
    found = {path.parent.name: path.read_text() for path in project.glob(".nnpx/tune/*/trials/*/begun")}
    return {number: int(pid) for number, pid in found.items() if pid}


def is_alive(pid):
    return Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_the_best_of_a_known_function_is_found(storage, tune, studies):
    code, out, err = tune("parabola", "tune.n_trials=20", f"tune.storage={storage}")
    (study,) = studies(f"tune.storage={storage}")
    assert (code, err, states(study)) == (0, "", ["COMPLETE"] * 20)
    assert abs(math.log10(study.best_params["optimizer.learning_rate"] / BEST)) < 0.15
    assert out.count("tune: trial ") == 20
    assert "Best trials" in out


def test_a_search_goes_on_as_if_it_had_not_been_left(tune, studies, project):
    tune("parabola", "tune.n_trials=9")
    whole = rates(*studies())
    assert len(set(whole)) == 9
    (folder,) = (project / ".nnpx" / "tune").iterdir()
    folder.rename(project / "whole")
    tune("parabola", "tune.n_trials=4")
    assert rates(*studies()) == whole[:4]
    out = tune("parabola", "tune.n_trials=9")[1]
    assert out.count("tune: trial ") == 5
    assert rates(*studies()) == whole
    assert tune("parabola", "tune.n_trials=9")[1].count("tune: trial ") == 0


@pytest.mark.slow
def test_another_space_is_another_study_and_a_larger_budget_is_not(tune, studies):
    tune("parabola", "tune.n_trials=2", RANDOM)
    tune("parabola", "tune.n_trials=3", RANDOM, "tune.timeout_s=600")
    assert len(studies()) == 1
    tune("parabola", "tune.n_trials=2", RANDOM, WIDE)
    assert len(studies(WIDE)) == 2
    tune("parabola", "tune.n_trials=2", RANDOM, "seed=3")
    assert len(studies()) == 3


@pytest.mark.slow
def test_two_workers_share_one_study(start, studies, project):
    process = start("slow", "tune.n_trials=7", "tune.n_workers=2")
    wait_for(lambda: len(begun(project)) == 2)
    (project / "go").touch()
    assert process.wait(180) == 0
    (study,) = studies()
    assert states(study) == ["COMPLETE"] * 7
    assert len(set(rates(study))) == 7
    assert len({trial.user_attrs["worker"] for trial in study.get_trials()}) == 2


def test_a_trial_that_fails_fails_alone_and_says_why(tune, studies):
    code, out, _ = tune("troubled", RANDOM)
    (study,) = studies()
    assert code == 0
    assert states(study) == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    told = [line.partition(") ")[2] for line in out.splitlines() if line.startswith("tune: trial") and "failed" in line]
    assert told == ["failed: valid/forces_mae is nan", "failed: the loss is not finite", "failed: valid/forces_mae is missing"]


def test_a_search_without_a_completed_trial_exits_with_1(tune):
    assert tune("hopeless", "tune.n_trials=1")[0] == 1


@pytest.mark.parametrize("pruner", [HYPERBAND, MEDIAN], ids=["hyperband", "median"])
def test_trials_without_prospects_are_stopped_and_counted(pruner, tune, studies, project):
    code, out, _ = tune("curve", RANDOM, pruner, "tune.n_trials=12", "trainer.max_epochs=9")
    (study,) = studies()
    pruned = [trial for trial in study.get_trials() if trial.state.name == "PRUNED"]
    assert code == 0
    assert len(states(study)) == 12
    assert 1 <= len(pruned) <= 11
    assert f"│ pruned    │ {len(pruned)} │".replace(" ", "") in out.replace(" ", "")
    folder = project / ".nnpx" / "tune" / study.study_name / "trials"
    for trial in study.get_trials():
        assert (folder / str(trial.number) / "finished").exists() == (trial.state.name == "COMPLETE")
    stopped = folder / str(pruned[0].number)
    assert f"pruned=after epoch {pruned[0].last_step}\n" in (stopped / "tags").read_text()
    assert f"stopped after epoch {pruned[0].last_step}" in out
    best = min(study.get_trials(), key=lambda trial: abs(math.log10(trial.params["optimizer.learning_rate"] / BEST)))
    assert best.state.name == "COMPLETE"


def test_a_trial_that_has_made_all_its_epochs_is_completed_whatever_the_pruner_says(tune, studies):
    """Where a rung of Hyperband is the last epoch of some trials, and not of others."""
    code, _, _ = tune("curve", RANDOM, HYPERBAND, EPOCHS, "tune.n_trials=16")
    (study,) = studies(EPOCHS)
    pruned = [trial for trial in study.get_trials() if trial.state.name == "PRUNED"]
    assert (code, "COMPLETE" in states(study), len(pruned) > 0) == (0, True, True)
    assert all(trial.last_step < int(trial.params["trainer.max_epochs"]) for trial in pruned)


@pytest.mark.parametrize("sampler", [NSGA2, "tune.sampler.n_startup_trials=4"], ids=["nsga2", "tpe"])
def test_several_objectives_end_in_a_pareto_front(sampler, tune, studies, project):
    code, out, _ = tune("parabola", BOTH, WIDE, sampler, "tune.n_trials=14")
    (study,) = studies(BOTH, WIDE)
    points = [tuple(trial.values) for trial in study.get_trials()]
    front = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert code == 0
    assert {tuple(trial.values) for trial in study.best_trials} == front
    assert "Pareto front" in out
    assert "Importance" in out
    page = next(project.glob(".nnpx/tune/*/report.html")).read_text()
    assert page.count("<svg") == 4
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_its_trial_goes_on_in_its_folder(start, studies, project):
    process = start("slow", "tune.n_trials=2")
    killed = wait_for(lambda: begun(project)["0"] if begun(project) else None)
    (next(project.glob(".nnpx/tune/*/trials/0")) / "checkpoint").touch()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: begun(project).get("1", killed) != killed)
    (project / "go").touch()
    assert process.wait(180) == 0
    (study,) = studies()
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert rates(study)[0] == rates(study)[1]
    assert next(project.glob(".nnpx/tune/*/trials/1/checkpoint")).exists()


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_workers_along_and_is_resumed(start, tune_in_processes, studies, project):
    process = start("slow", "tune.n_trials=3", "tune.n_workers=2")
    workers = wait_for(lambda: begun(project) if len(begun(project)) == 2 else None).values()
    process.kill()
    wait_for(lambda: not any(is_alive(pid) for pid in workers))
    assert states(*studies()) == ["RUNNING", "RUNNING"]
    (project / "go").touch()
    assert tune_in_processes("slow", "tune.n_trials=3", "tune.n_workers=2")[0] == 0
    (study,) = studies()
    assert sorted(states(study)) == ["COMPLETE"] * 3 + ["FAIL"] * 2
    assert set(rates(study, "FAIL")) < set(rates(study, "COMPLETE"))


@pytest.mark.slow
def test_a_point_that_kills_its_process_is_tried_once_more_and_no_further(tune_in_processes, studies):
    code, out, _ = tune_in_processes("deadly", "tune.n_trials=3")
    (study,) = studies()
    assert code == 0
    assert states(study) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert rates(study)[0] == rates(study)[1]
    assert "failed: its process was killed twice" in out


@pytest.mark.slow
def test_an_interrupt_keeps_everything_and_the_trial_is_repeated(start, tune_in_processes, studies, project):
    process = start("slow", "tune.n_trials=2")
    pid = wait_for(lambda: begun(project).get("0"))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "was interrupted: it will be tried again" in out
    assert "Traceback" not in out
    assert not is_alive(pid)
    assert states(*studies()) == ["FAIL", "WAITING"]
    (project / "go").touch()
    assert tune_in_processes("slow", "tune.n_trials=2")[0] == 0
    (study,) = studies()
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert rates(study)[0] == rates(study)[1]


def test_one_command_at_a_time_works_on_a_search(tune, project):
    tune("parabola", "tune.n_trials=1")
    (folder,) = (project / ".nnpx" / "tune").iterdir()
    with FileLock(folder / "command.lock"):
        code, _, err = tune("parabola", "tune.n_trials=2")
    assert code == 2
    assert "expected no other command on this search, found one that runs" in err


def test_options_that_change_during_a_search_end_it(tune, studies):
    code, _, err = tune("edits", "tune.n_trials=3")
    assert code == 2
    assert "expected options that stay as they are during a search, found changed files" in err
    assert states(*studies()) == ["COMPLETE"]


def test_no_trial_starts_after_the_time_is_up(tune, studies):
    assert tune("parabola", "tune.timeout_s=1e-6")[0] == 1
    assert states(*studies()) == []


def test_every_trial_has_a_folder_with_what_it_said(tune_in_processes, project):
    out = tune_in_processes("parabola", "tune.n_trials=1")[1]
    assert "a training speaks" not in out
    (trial,) = project.glob(".nnpx/tune/*/trials/*")
    assert (trial / "log.txt").read_text() == "a training speaks\n"
    assert json.loads((trial / "models" / "training.json").read_text())["outcome"]["valid/forces_mae"] > 1
