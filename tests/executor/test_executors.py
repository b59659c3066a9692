"""Wherever a calculation runs, its label is the same; what hangs or dies costs its structure, and a command that cannot run says so."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from learning.engines import copper

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import labels
from nnpx.data.jobs import Batch, SinglePoints
from nnpx.errors import ConfigError
from nnpx.executor import Executor, Task
from nnpx.executor.command import Command, Files
from nnpx.executor.labelling import Labelling
from nnpx.executor.processes import Processes
from nnpx.reference.ase import ASE
from nnpx.reference.emt import EMT

SHELL = "bash -c '{work}'"


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNPX_TRUSTED", "learning")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def tasks(structures: Sequence[Atoms], allowed_s: float = 60.0) -> list[Task]:
    jobs = [SinglePoints(f"structure {k}", (atoms,)) for k, atoms in enumerate(structures)]
    return [Task(job.key(), job, allowed_s) for job in jobs]


def faulty(fault: str) -> ASE:
    """Fails where the first atom lies beyond x = 3 Å."""
    parameters = {"fault": fault, "beyond": 3.0}
    return ASE(calculator="learning.engines.Counted", parameters=parameters, level_of_theory="counted")


def results(executor: Executor, engine: object, given: Sequence[Task], folder: Path) -> list[Batch]:
    found = dict(executor.results(engine, given, folder))
    return [found[task.key] for task in given]


OTHERS = [pytest.param("command"), pytest.param("ray", marks=pytest.mark.slow)]


def made(name: str) -> Executor:
    if name == "processes":
        return Processes(n_processes=1)
    if name == "command":
        return Command(command=SHELL, n_at_once=2)
    pytest.importorskip("ray", reason="needs the extra nnpx[ray]")
    from nnpx.executor.ray import Ray

    return Ray(address=None, cpus_per_task=1.0)


@pytest.mark.parametrize("name", OTHERS)
def test_labels_are_those_of_processes_of_this_machine(name: str, tmp_path: Path) -> None:
    given = tasks([copper(seed) for seed in range(3)])
    here = results(Processes(n_processes=1), EMT(), given, tmp_path / "here")
    there = results(made(name), EMT(), given, tmp_path / "there")
    for one, other in zip(here, there, strict=True):
        (one_label,), (other_label,) = one.structures, other.structures
        np.testing.assert_array_equal(labels(one_label)["forces"], labels(other_label)["forces"])
        assert labels(one_label)["energy"] == labels(other_label)["energy"]
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    ("fault", "reason"), [("crash", "died|without an answer"), ("raise", "did not converge"), ("hang", "more than 2 s")]
)
def test_a_task_that_fails_costs_its_structure(name: str, fault: str, reason: str, tmp_path: Path) -> None:
    given = tasks([copper(0), copper(1, shift=5.0), copper(2)], allowed_s=2.0)
    first, failed, last = results(made(name), faulty(fault), given, tmp_path / "jobs")
    assert len(first.structures) == len(last.structures) == 1
    (failure,) = failed.failures
    assert failure.name.startswith("structure 1")
    assert re.search(reason, failure.reason)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sbatch --wait", "a command with {work} in it"),
        ("sbatch --wrap '{work}", "the words of a command"),
        ("no-such-program {work}", "a program that can be called"),
        ("bash -c 'echo the queue is closed; exit 1; {work}'", "the queue is closed"),
        ("true {work}", "before the work began"),
    ],
)
def test_a_command_that_runs_nothing_says_so_at_once(command: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnpx.executor.command._ARRIVAL_S", 0.3)
    with pytest.raises(ConfigError, match=r"executor\.command") as raised:
        results(Command(command=command, n_at_once=1), EMT(), tasks([copper(0)]), tmp_path / "jobs")
    assert expected in str(raised.value)


def test_an_answer_that_came_after_a_kill_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work goes on in its queue when the command that waits for it is killed."""
    monkeypatch.setenv("NNPX_TEST_CALLS", str(tmp_path / "count"))
    monkeypatch.setenv("NNPX_TEST_GO", str(tmp_path / "go"))
    given = tasks([copper(0), copper(1)])
    child = os.fork()
    if child == 0:
        try:
            list(Command(command=SHELL, n_at_once=2).results(faulty("wait"), given, tmp_path / "jobs"))
        finally:
            os._exit(7)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "jobs").glob("*.begun"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (tmp_path / "go").touch()
    while len(list((tmp_path / "jobs").glob("*.answer"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len((tmp_path / "count").read_text().splitlines()) == 2
    assert all(
        len(batch.structures) == 1 for batch in results(Command(command=SHELL, n_at_once=2), faulty("wait"), given, tmp_path / "jobs")
    )
    assert len((tmp_path / "count").read_text().splitlines()) == 2


def test_work_that_is_answered_already_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a command was killed, and called again while the first work was still in the queue."""
    monkeypatch.setenv("NNPX_TEST_CALLS", str(tmp_path / "count"))
    (task,) = tasks([copper(0)])
    for _ in range(2):
        files = Files.of_call(task, faulty(""), tmp_path)
        files.write(task, faulty(""))
        subprocess.run([sys.executable, "-m", "nnpx.executor.work", str(files.task)], check=True)
    assert len((tmp_path / "count").read_text().splitlines()) == 1


@pytest.mark.parametrize("command", ["bash -c '{work}; true'", "bash -c 'trap \"\" TERM; {work}; true'"])
def test_a_command_that_is_ended_ends_what_it_has_begun(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it wants to."""
    monkeypatch.setattr("nnpx.executor.command._GRACE_S", 0.3)
    given = tasks([copper(0), copper(1, shift=5.0)])
    iterator = Command(command=command, n_at_once=2).results(faulty("hang"), given, tmp_path / "jobs")
    next(iterator)
    iterator.close()
    time.sleep(0.3)
    assert str(tmp_path) not in running()


@pytest.mark.parametrize("name", ["processes", "command"])
def test_programs_of_an_engine_that_hangs_are_ended_with_it(name: str, tmp_path: Path) -> None:
    given = tasks([copper(1, shift=5.0)], allowed_s=2.0)
    (failed,) = results(made(name), faulty("program"), given, tmp_path / "jobs")
    assert "2 s" in failed.failures[0].reason
    time.sleep(0.3)
    assert "sleep 97.25" not in running()


def running() -> str:
    """The command lines of all processes."""
    return subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout


def test_an_answer_is_that_of_one_engine(tmp_path: Path) -> None:
    """Somebody changes the reference while the answers of the one before are on their way."""
    (task,) = tasks([copper(0)])
    Files.of_call(task, faulty(""), tmp_path / "jobs").write_answer(task.failed("of another engine"))
    (batch,) = results(Command(command=SHELL, n_at_once=1), EMT(), [task], tmp_path / "jobs")
    assert len(batch.structures) == 1


@pytest.mark.parametrize("module", ["work", "processes"])
def test_a_process_that_labels_does_not_load_torch(module: str) -> None:
    """Which takes seconds, for every process and for every job of a queue."""
    code = f"import sys, nnpx.executor.{module}, nnpx.reference.emt, nnpx.reference.xtb; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_queue_that_closes_has_given_what_it_took_and_nothing_else_has_failed(tmp_path: Path) -> None:
    """It takes the first of three. An earlier call for the second is still in the queue, and begins."""
    first, second, third = tasks([copper(seed) for seed in range(3)])
    earlier = Files.of_call(second, EMT(), tmp_path / "jobs")
    (tmp_path / "jobs").mkdir()
    earlier.write(second, EMT())
    earlier.begun.touch()
    closing = Command(command=f"bash -c 'mkdir {tmp_path}/taken && {{work}} || (echo it is full; exit 1)'", n_at_once=1)
    results_of = closing.results(EMT(), [first, second, third], tmp_path / "jobs")
    assert next(results_of)[0] == first.key
    with pytest.raises(ConfigError, match="it is full"):
        next(results_of)
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == sorted([earlier.begun.name, earlier.task.name])


def test_labelling_through_a_command_keeps_what_is_finished(tmp_path: Path) -> None:
    journal = FinishedJobs(path=tmp_path / "journal.jsonl")
    jobs = [task.job for task in tasks([copper(0), copper(1)])]
    labelling = Labelling(engine=EMT(), executor=Command(command=SHELL, n_at_once=1), journal=journal, report=lambda done, total: None)
    assert len(labelling.run(jobs).structures) == 2
    labelling.executor = Command(command="no-such-program {work}", n_at_once=1)
    assert len(labelling.run(jobs).structures) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl"]
