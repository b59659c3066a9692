"""A loop so small that it takes seconds: six copper atoms, effective medium theory, two members of a few weights."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Octahedron
from ase.io import write
from omegaconf import DictConfig
from rich.console import Console

from nnpx import cli
from nnpx.config import compose, validate
from nnpx.learning.rounds import Loop
from nnpx.learning.view import View
from nnpx.verbs import run_verb

TINY = [
    *(
        "data=unlabelled",
        "data.path=start.extxyz",
        "data.split.n_valid=3",
        "data.split.n_test=1",
        "reference=ase",
        "executor.n_processes=1",
    ),
    *("reference.calculator=learning.engines.Counted", "reference.level_of_theory=counted", "tracking=none", "prior=zero"),
    *("descriptor=acsf_narrow", "radial.n_functions=6", "descriptor.angular.n_widths=2", "descriptor.angular.zetas=[1]"),
    *(
        "network.hidden=[6]",
        "ensemble.n_members=2",
        "ensemble.n_processes=1",
        "trainer.max_epochs=8",
        "trainer.batch_size=2",
        "schedule.warmup_steps=2",
    ),
    *("acquisition.n_selected=4", "acquisition.band.floor=1e-6", "acquisition.band.upper_factor=50.0", "acquisition.band.error_factor=0.3"),
    *("learning.walkers.temperatures_K=[300.0]", "learning.walkers.n_walkers=3"),
    *("learning.walkers.timestep_fs=2.0", "learning.walkers.round_ps=0.08", "learning.walkers.look_every_fs=8.0"),
    *("learning.walkers.watchdog.max_bond_change=2.0", "learning.n_drawn=2", "learning.retrain_epochs=2", "learning.timeout_s=60.0"),
    *("learning.n_valid=2", "learning.walkers.keep_every_fs=16.0"),
    *("learning.stopping.max_rounds=2", "learning.stopping.patience=1", "learning.label_check.n_examined=1"),
]


def config(*overrides: str) -> DictConfig:
    usual = [word for word in TINY if not ("ensemble=single" in overrides and word.startswith("ensemble."))]
    composed = compose([*usual, *overrides])
    validate(composed, ["learning"])
    return composed


def starts(folder: Path, n: int = 14) -> None:
    """Displaced octahedra of copper."""
    structures = []
    for seed in range(n):
        atoms = Octahedron("Cu", 2)
        atoms.positions += 0.08 * np.random.default_rng(seed).standard_normal((len(atoms), 3))
        atoms.info["group"] = "start"
        structures.append(atoms)
    write(folder / "start.extxyz", structures)


def set_up(patch: pytest.MonkeyPatch, folder: Path | None = None) -> None:
    """Engines of the tests are trusted, counted where there is a folder, and asked by workers that are forked, which is quicker."""
    forking = multiprocessing.get_context("fork")
    patch.setattr("nnpx.executor.processes.multiprocessing.get_context", lambda method: forking)
    patch.setenv("NNPX_TRUSTED", "learning")
    if folder is not None:
        patch.setenv("NNPX_TEST_CALLS", str(folder / "count"))


def loop(folder: Path, *overrides: str) -> Loop:
    composed = config(*overrides)
    one = Loop(composed, folder, View(Console(quiet=True)))
    if not one.has_data:
        run_verb("prepare", composed, folder, alone=False)
    one.claim()
    return one


def command(folder: Path, patch: pytest.MonkeyPatch, *overrides: str) -> int:
    """The exit code of `nnpx learn` in the folder."""
    patch.chdir(folder)
    patch.setattr(sys, "argv", ["nnpx", "learn", *TINY, *overrides])
    return cli.main()


def go_on(project: Path, finished: Path, *, rounds: int) -> None:
    """The same command again; what it chose and labelled is what an undisturbed loop did."""
    loop(project, f"learning.stopping.max_rounds={rounds}").run(lambda rows: None)
    undisturbed = {name: text for name, text in chosen(finished).items() if int(name.split("_")[1][:2]) <= rounds}
    assert chosen(project) == undisturbed


def chosen(folder: Path) -> dict[str, str]:
    """The ways of the walkers, the selected and the labelled structures of every round, as text."""
    names = ("selected.extxyz", "labelled.extxyz", "drawn.extxyz", "candidates.extxyz")
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted((folder / "learn").glob("round_*/**/*.extxyz"))
        if path.name in names or path.parent.name == "walkers"
    }


def under_versions(project: Path) -> None:
    """Makes the project one of git and DVC."""
    for command in (
        ["git", "init", "--quiet"],
        ["git", "config", "user.email", "a@b.c"],
        ["git", "config", "user.name", "a"],
        ["git", "commit", "--quiet", "--allow-empty", "--message", "begin"],
        ["dvc", "init", "--quiet"],
        ["git", "commit", "--quiet", "--message", "dvc"],
    ):
        subprocess.run(command, cwd=project, check=True, capture_output=True)


def killed(folder: Path, prepare: Callable[[], None]) -> None:
    """Runs the loop in a process that kills itself where `prepare` has told it to."""
    child = os.fork()
    if child == 0:
        try:
            prepare()
            loop(folder).run(lambda rows: None)
        finally:
            os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(count: int, original: Callable[..., object]) -> Callable[..., object]:
    """The function, which dies when it is called for the last of so many times."""
    calls = []

    def counting(*words: object, **named: object) -> object:
        calls.append(None)
        return die() if len(calls) == count else original(*words, **named)

    return counting


def commits(project: Path) -> str:
    """What the commits say, the newest first."""
    return subprocess.run(["git", "log", "--format=%s"], cwd=project, check=True, capture_output=True, text=True).stdout


def full_disk(patch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """The disk is full when a file is written for the last of so many times; its end is missing. The system does not say where."""
    times, to_disk, write_text = [], os.fsync, Path.write_text

    def strike(path: Path) -> bool:
        times.extend([path] if name in path.name else [])
        return name in path.name and len(times) >= count

    def sync(descriptor: int) -> None:
        if strike(Path(f"/proc/self/fd/{descriptor}").readlink()):
            os.truncate(descriptor, os.fstat(descriptor).st_size - 5)
            raise OSError(errno.ENOSPC, "No space left on device")
        to_disk(descriptor)

    def write(path: Path, content: str, encoding: str) -> int:
        if strike(path):
            write_text(path, content[: len(content) // 2], encoding=encoding)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(path, content, encoding=encoding)

    patch.setattr(os, "fsync", sync)
    patch.setattr(Path, "write_text", write)
