"""Members of an ensemble: the same wherever they train."""

import copy
import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path

import pytest
import torch
from ase.io import write
from small import CONFIG, NUMBERS, ethanols

from nnpx.config import compose
from nnpx.configuration.schema import plain
from nnpx.fitting import Task, describe_structures, reserved
from nnpx.locks import alone
from nnpx.members import train_members
from nnpx.trainer.state import FORMAT


@pytest.fixture
def task(tmp_path: Path) -> Task:
    torch.set_num_threads(1)
    structures = ethanols(16)
    write(tmp_path / "train.extxyz", structures[:12])
    write(tmp_path / "valid.extxyz", structures[12:])
    config = copy.deepcopy(CONFIG)
    config["trainer"] |= {"max_epochs": 3, "batch_size": 4}
    config["prior"] = {"_target_": "nnpx.prior.zbl.ZBL", "reach_factor": 1.0, "power": 6}
    task = Task(config, NUMBERS, {}, tmp_path / "work")
    describe_structures(task, tmp_path)
    return task


def changed(task: Task, folder: str, **trainer: object) -> Task:
    """The same task with another trainer, in a folder of its own but for the graphs."""
    config = copy.deepcopy(dict(task.config))
    config["trainer"] |= trainer
    other = Task(config, task.numbers, task.isolated_atoms, task.folder.parent / folder)
    other.folder.mkdir()
    for graph in task.folder.glob("*.graph"):
        (other.folder / graph.name).hardlink_to(graph)
    return other


def weights(potential: torch.nn.Module) -> dict[str, torch.Tensor]:
    return potential.state_dict()


def test_members_in_processes_are_those_of_one_process(task):
    here, here_curves = train_members(task, [0, 1000], n_processes=1, report=lambda row: None)
    rows = []
    there, there_curves = train_members(changed(task, "processes"), [0, 1000], n_processes=2, report=rows.append)
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(weights(a), weights(b), rtol=1e-5, atol=1e-6)
    assert len(rows) == 6
    assert {row.member for row in rows} == {0, 1}
    assert [len(curve) for curve in there_curves] == [len(curve) for curve in here_curves] == [3, 3]


def test_members_on_a_gpu_train_one_after_the_other_in_this_process(task, monkeypatch):
    monkeypatch.setattr("nnpx.trainer.loop.Trainer.uses_gpu", True)
    processes = []
    train_members(task, [0, 1000], n_processes=2, report=lambda row: processes.append((row.member, os.getpid(), len(active_children()))))
    assert processes == [(member, os.getpid(), 0) for member in (0, 0, 0, 1, 1, 1)]


def test_members_differ(task):
    (first, second), _ = train_members(task, [0, 1000], n_processes=1, report=lambda row: None)
    assert not torch.allclose(weights(first)["network.weights.0"], weights(second)["network.weights.0"])


def test_two_devices_that_share_every_batch_learn_what_one_does(task):
    alone, _ = train_members(task, [0], n_processes=1, report=lambda row: None)
    shared, _ = train_members(changed(task, "ddp", devices=2, strategy="ddp"), [0], n_processes=1, report=lambda row: None)
    torch.testing.assert_close(weights(alone[0]), weights(shared[0]), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_members_do_not_outlive_a_killed_training(task):
    long = changed(task, "long", max_epochs=100_000)
    training = get_context("spawn").Process(target=train_members, args=(long, [0, 1000, 2000]), kwargs={"n_processes": 2, "report": print})
    training.start()
    wait_until(lambda: len(list(long.folder.glob("*.checkpoint"))) == 2)
    workers = [
        int(line) for line in subprocess.run(["pgrep", "-P", str(training.pid)], capture_output=True, text=True, check=True).stdout.split()
    ]
    os.kill(training.pid, signal.SIGKILL)
    training.join()
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def wait_until(condition, seconds: float = 120.0) -> None:
    """Wait for a condition, and fail where it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def is_running(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_member_that_fails_says_why_and_ends_the_others(task):
    broken = changed(task, "broken")
    (broken.folder / "member-1000.checkpoint").write_bytes(b"not a checkpoint")
    with pytest.raises(Exception, match=f"expected a checkpoint of format {FORMAT}"):
        train_members(broken, [0, 1000], n_processes=2, report=lambda row: None)


def test_what_decides_the_outcome_names_the_folder(tmp_path):
    from nnpx.fitting import NODES, training_task

    card = {"md5": {"train": "a"}, "numbers": NUMBERS, "isolated_atoms": {}}
    config = {**{node: CONFIG[node] for node in NODES}, "ensemble": plain(compose().ensemble), "seed": 0, "tracking": {"experiment": "one"}}
    other = json.loads(json.dumps(config))
    other["tracking"]["experiment"] = "two"
    assert training_task(config, card, tmp_path).folder == training_task(other, card, tmp_path).folder
    other["network"]["hidden"] = [9]
    assert training_task(config, card, tmp_path).folder != training_task(other, card, tmp_path).folder


def test_a_second_training_of_the_same_waits_for_the_first_and_leaves_no_graphs(tmp_path):
    task, order = Task({}, [1], {}, tmp_path / "key"), []

    def second() -> None:
        with reserved(task, tell=order.append):
            order.append("second begins")
            (task.folder / "train.graph").touch()
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        with alone(task.folder, on="this training", do=""):
            running = pool.submit(second)
            while not order:
                time.sleep(0.01)
            order.append("first ends")
        with pytest.raises(KeyboardInterrupt):
            running.result()
    assert order == ["another command trains the same; what it makes is taken when it has ended", "first ends", "second begins"]
    assert not list(task.folder.glob("*.graph"))
