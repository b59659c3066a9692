"""A run that is killed and started again leaves the same bytes as one that is not."""

from collections.abc import Callable
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.io import write
from md_systems import Springs, settings, watchdog

from nnpx.ensemble import Ensemble
from nnpx.errors import SimulationError
from nnpx.md import Dynamics, Simulation
from nnpx.md.langevin import Langevin
from nnpx.md.nose_hoover import NoseHoover
from nnpx.md.npt import NPT
from nnpx.md.nve import NVE
from nnpx.md.record import Joined, Record
from nnpx.md.runner import simulate
from nnpx.md.study import run_all
from nnpx.md.trajectory import Trajectory
from nnpx.md.walker import read_walker
from nnpx.reference.emt import EMT

CHAIN = {"thermostat_fs": 50.0, "chain_length": 3}
BEFORE = b"# others\n"
MUTE = Calculator()  # answers nothing
SETTINGS = settings(equilibration_ps=0.04, duration_ps=0.08)
KINDS: dict[str, Callable[..., Dynamics]] = {
    "nve": lambda **changed: NVE(**{**SETTINGS, **changed}),
    "langevin": lambda **changed: Langevin(**{**SETTINGS, **changed}),
    "nose_hoover": lambda **changed: NoseHoover(**{**SETTINGS, **CHAIN, **changed}),
    "npt": lambda **changed: NPT(**{**SETTINGS, **CHAIN, "pressure_GPa": 0.01, "barostat_fs": 200.0, **changed}),
}


class Killed(Exception):  # noqa: N818  it is none of the errors that the code knows
    """In place of a signal."""


class Breathing(Springs):
    """Springs, and the stress of a cell that resists: V grows with the square of the change of volume."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  ASE's interface

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        strain = self.atoms.get_volume() / 512.0 - 1.0
        self.results["energy"] += 10.0 * strain**2
        self.results["stress"] = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) * 20.0 * strain / 512.0


def atoms() -> Atoms:
    places = 4.0 * np.argwhere(np.ones((2, 2, 2))).astype(float)
    return Atoms("Ar8", places, cell=[8.0] * 3, pbc=True)


def go(dynamics: Dynamics, folder: Path, kill_at: int | None = None) -> Trajectory:
    """Shown after the frames of another run."""
    joined = Joined(folder / "trajectory.extxyz")
    joined.append(BEFORE)

    def progress(done: int, of: int) -> None:
        if kill_at is not None and done >= kill_at:
            raise Killed

    record = Record(folder / "state", 8, joined)
    return simulate(dynamics, atoms(), Breathing(atoms(), 0.5), seed=3, name="test", record=record, progress=progress)


def assert_same(one: Path, two: Path) -> None:
    assert (one / "trajectory.extxyz").read_bytes() == (two / "trajectory.extxyz").read_bytes()
    assert (one / "state" / "samples.f64").read_bytes() == (two / "state" / "samples.f64").read_bytes()
    walkers = [read_walker(folder / "state" / "state.npz") for folder in (one, two)]
    for walker in walkers:
        del walker.memory["wall_s"]
    assert walkers[0].memory.keys() == walkers[1].memory.keys()
    for name, value in walkers[0].memory.items():
        assert value.dtype == walkers[1].memory[name].dtype
        np.testing.assert_array_equal(value, walkers[1].memory[name])
    for name in ("positions", "momenta", "numbers", "masses"):
        np.testing.assert_array_equal(walkers[0].atoms.get_array(name), walkers[1].atoms.get_array(name))
    np.testing.assert_array_equal(walkers[0].atoms.cell.array, walkers[1].atoms.cell.array)
    assert walkers[0].random.bit_generator.state == walkers[1].random.bit_generator.state
    assert walkers[0].step == walkers[1].step


@pytest.fixture
def states_at_every_third_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count()
    monkeypatch.setattr(Record, "is_due", lambda self: next(calls) % 3 == 0)


@pytest.mark.usefixtures("states_at_every_third_sample")
@pytest.mark.parametrize(
    "kill_at", [*(pytest.param(steps, marks=pytest.mark.slow) for steps in ([0], [16], [120])), [40], [41, 72]], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_to_the_same_end(kind: str, kill_at: list[int], tmp_path: Path) -> None:
    """In the equilibration (40 steps), at its end, in production, twice, and after the last sample."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    whole = go(KINDS[kind](), straight)
    for step in kill_at:
        with pytest.raises(Killed):
            go(KINDS[kind](), killed, kill_at=step)
        for file in ("trajectory.extxyz", "state/frames.extxyz", "state/samples.f64"):
            with (killed / file).open("ab") as stream:
                stream.write(b"half a fra")
    resumed = go(KINDS[kind](), killed)
    assert_same(straight, killed)
    for field in fields(Trajectory):
        if field.name not in ("start", "wall_s"):
            np.testing.assert_array_equal(getattr(whole, field.name), getattr(resumed, field.name))
    np.testing.assert_array_equal(whole.start.positions, resumed.start.positions)


@pytest.mark.usefixtures("states_at_every_third_sample")
def test_only_what_came_after_the_last_state_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        go(KINDS["langevin"](), tmp_path, kill_at=92)
    state = tmp_path / "state" / "state.npz"
    kept = (tmp_path / "state" / "frames.extxyz").read_bytes()[: int(read_walker(state).memory["lengths"][0])]
    assert 80 <= read_walker(state).step <= 92
    with pytest.raises(Killed):
        go(KINDS["langevin"](), tmp_path, kill_at=0)
    assert (tmp_path / "trajectory.extxyz").read_bytes().startswith(BEFORE + kept)
    assert read_walker(state).step >= 80


def test_a_run_that_has_ended_is_not_repeated(tmp_path: Path) -> None:
    dynamics = KINDS["nve"]()
    before = go(dynamics, tmp_path)
    record = Record(tmp_path / "state", 8, None)
    after = simulate(dynamics, atoms(), MUTE, seed=3, name="test", record=record, progress=print)
    np.testing.assert_array_equal(before.positions, after.positions)
    assert before.wall_s == after.wall_s


@pytest.mark.parametrize("file", ["frames.extxyz", "samples.f64"])
def test_a_run_whose_files_are_not_what_its_state_says_starts_anew(file: str, tmp_path: Path) -> None:
    go(KINDS["langevin"](), tmp_path / "straight")
    go(KINDS["langevin"](), tmp_path / "spoilt")
    spoilt = tmp_path / "spoilt" / "state" / file
    whole = spoilt.read_bytes()
    for other in (whole[:-1], whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]):
        spoilt.write_bytes(other)
        go(KINDS["langevin"](), tmp_path / "spoilt")
        assert_same(tmp_path / "straight", tmp_path / "spoilt")


@pytest.mark.parametrize("length", [0, 100, -10])
def test_a_run_whose_state_was_half_written_by_a_crash_starts_anew(length: int, tmp_path: Path) -> None:
    go(KINDS["nve"](), tmp_path / "straight")
    go(KINDS["nve"](), tmp_path / "spoilt")
    state = tmp_path / "spoilt" / "state" / "state.npz"
    state.write_bytes(state.read_bytes()[:length])
    go(KINDS["nve"](), tmp_path / "spoilt")
    assert_same(tmp_path / "straight", tmp_path / "spoilt")


class Runs(Simulation):
    """Two trajectories, one after the other."""

    structure = "start.xyz"

    def runs(self) -> dict[str, Dynamics]:
        return {"first": KINDS["nve"](), "second": KINDS["langevin"]()}


@pytest.fixture
def go_through(repulsion: Ensemble) -> Callable[..., Path]:
    """Make both runs; the folder of their states."""

    def go_through(folder: Path, calculator: BaseCalculator, kill: tuple[str, int] | None = None) -> Path:
        folder.mkdir(exist_ok=True)
        write(folder / "start.xyz", atoms())

        def watch(name: str, timestep_fs: float) -> Callable[[int, int], None]:
            def progress(done: int, of: int) -> None:
                if kill is not None and (name, done) >= kill:
                    raise Killed

            return progress

        places = {"start": folder / "start.xyz", "workspace": folder, "file": folder / "trajectory.extxyz"}
        words = {"labelled_by": "nobody", "potential": "Breathing", "trusted": "", "seed": 3}
        run_all(Runs(), calculator, repulsion, EMT(), watch=watch, **places, **words)
        return folder / ".nnpx" / "simulate"

    return go_through


def files(folder: Path, pattern: str) -> dict[str, tuple[bytes, int]]:
    """What is in every file below, and when it was written."""
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob(f"{pattern}/*"))}


@pytest.mark.usefixtures("states_at_every_third_sample")
@pytest.mark.parametrize("kill", [("first", 80), ("second", 72), ("second", 120)], ids=str)
def test_a_run_that_is_killed_does_not_touch_those_before_it(
    kill: tuple[str, int], go_through: Callable[..., Path], tmp_path: Path
) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    whole = go_through(straight, Breathing(atoms(), 0.5))
    with pytest.raises(Killed):
        go_through(killed, Breathing(atoms(), 0.5), kill=kill)
    states = killed / ".nnpx" / "simulate"
    ended = files(states, "first-*") if kill[0] == "second" else {}
    go_through(killed, Breathing(atoms(), 0.5))
    assert (straight / "trajectory.extxyz").read_bytes() == (killed / "trajectory.extxyz").read_bytes()
    assert {path.relative_to(whole) for path in whole.glob("*/*")} == {path.relative_to(states) for path in states.glob("*/*")}
    assert {path: (states / path).stat().st_mtime_ns for path in ended} == {path: made for path, (_, made) in ended.items()}


def test_runs_that_have_ended_are_not_repeated(go_through: Callable[..., Path], tmp_path: Path) -> None:
    """The file that shows them is made from what they kept, whatever it held."""
    states = go_through(tmp_path, Breathing(atoms(), 0.5))
    shown, kept = (tmp_path / "trajectory.extxyz").read_bytes(), files(states, "*")
    assert [name for name in ("first", "second") if shown.count(f"run={name}".encode()) == 21] == ["first", "second"]
    for other in (shown, b"of another simulation", shown + b"and more"):
        (tmp_path / "trajectory.extxyz").write_bytes(other)
        go_through(tmp_path, MUTE)
        assert (tmp_path / "trajectory.extxyz").read_bytes() == shown
        assert files(states, "*") == kept


def test_a_run_that_was_stopped_by_the_watchdog_stops_there_again(tmp_path: Path) -> None:
    bounded = KINDS["langevin"](watchdog=watchdog(max_force=0.05))
    said = []
    for _ in range(2):
        with pytest.raises(SimulationError) as caught:
            go(bounded, tmp_path)
        said.append((str(caught.value), (tmp_path / "trajectory.extxyz").read_bytes()))
    assert said[0] == said[1]
