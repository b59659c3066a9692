"""`nnpx simulate` killed by a signal and started again, with a real potential."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_simulate import WEAK, build, run

from nnpx.config import compose
from nnpx.md.study import Study
from nnpx.md.walker import read_walker

TIMES = [
    "duration_ps=0.3",
    "equilibration_ps=0.03",
    "sample_every_fs=2",
    "watchdog.max_bond_change=null",
    "watchdog.max_isolation=null",
    "compare=false",
]
KINDS = ["nve", "langevin", "nose_hoover", "nve_and_langevin"]


def overrides(option: str) -> list[str]:
    runs = ("md.nve", "md.langevin") if option == "nve_and_langevin" else ("md",)
    return [*WEAK, f"md={option}", *(f"{run}.{one}" for run in runs for one in TIMES)]


def command(option: str, workspace: Path) -> list[str]:
    words = f"from pathlib import Path; from nnpx.config import compose; from nnpx.verbs import run_verb; " \
        f"run_verb('simulate', compose({overrides(option)!r}), Path({str(workspace)!r}), alone=True)"  # fmt: skip
    return [sys.executable, "-c", words]


def trajectory(workspace: Path) -> Path:
    return workspace / "reports" / "simulation" / "trajectory.extxyz"


def states(workspace: Path) -> list[Path]:
    """In the order in which they were made."""
    return sorted((workspace / ".nnpx" / "simulate").glob("*/state.npz"), key=lambda path: path.stat().st_mtime_ns)


def assert_same(one: Path, two: Path) -> None:
    assert trajectory(one).read_bytes() == trajectory(two).read_bytes()
    found = [states(workspace) for workspace in (one, two)]
    assert [path.parent.name for path in found[0]] == [path.parent.name for path in found[1]]
    for first, second in zip(*found, strict=True):
        assert (first.parent / "samples.f64").read_bytes() == (second.parent / "samples.f64").read_bytes()
        walkers = [read_walker(first), read_walker(second)]
        np.testing.assert_array_equal(walkers[0].atoms.get_momenta(), walkers[1].atoms.get_momenta())
        assert walkers[0].random.bit_generator.state == walkers[1].random.bit_generator.state


@pytest.mark.slow
@pytest.mark.parametrize("option", KINDS)
def test_a_simulation_that_was_killed_goes_on_to_the_same_bytes(option: str, tmp_path: Path) -> None:
    straight, killed = build(tmp_path / "straight", overrides(option)), tmp_path / "killed"
    shutil.copytree(straight, killed)
    subprocess.run(command(option, straight), check=True, capture_output=True)
    size = trajectory(straight).stat().st_size
    process = subprocess.Popen(command(option, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not trajectory(killed).is_file() or trajectory(killed).stat().st_size < 0.6 * size:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    *ended, state = states(killed)
    assert len(ended) == (option == "nve_and_langevin")
    assert 0 < read_walker(state).step < read_walker(states(straight)[-1]).step
    before = {path: path.stat().st_mtime_ns for one in ended for path in one.parent.iterdir()}
    subprocess.run(command(option, killed), check=True, capture_output=True)
    assert_same(straight, killed)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_seed_starts_anew_and_the_first_one_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trajectory lies in reports/; it is that of the last command."""
    monkeypatch.setattr(Study, "pictures", lambda study: {})
    short = [*overrides("langevin"), "md.duration_ps=0.02", "md.equilibration_ps=0.0"]
    workspace = build(tmp_path, short)
    found = []
    for seed in (1, 2, 1):
        run(compose([*short, f"seed={seed}"]), workspace)
        found.append(trajectory(workspace).read_bytes())
    assert found[0] == found[2] != found[1]
