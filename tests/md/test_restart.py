"""A run that is killed and started again leaves the same bytes as one that is not."""

from collections.abc import Callable
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from md_systems import Springs, settings, watchdog

from nnpx.errors import SimulationError
from nnpx.md import Dynamics
from nnpx.md.identity import identity
from nnpx.md.langevin import Langevin
from nnpx.md.nose_hoover import NoseHoover
from nnpx.md.npt import NPT
from nnpx.md.nve import NVE
from nnpx.md.record import Record
from nnpx.md.runner import simulate
from nnpx.md.trajectory import Trajectory
from nnpx.md.walker import read_walker

CHAIN = {"thermostat_fs": 50.0, "chain_length": 3}
SETTINGS = settings(equilibration_ps=0.1, duration_ps=0.2)
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


def go(dynamics: Dynamics, folder: Path, kill_at: int | None = None, before: str = "") -> Trajectory:
    """Into a file that begins with the frames of another run."""
    frames = folder / "trajectory.extxyz"
    folder.mkdir(exist_ok=True)
    if not frames.exists():
        frames.write_text(before)

    def progress(done: int, of: int) -> None:
        if kill_at is not None and done >= kill_at:
            raise Killed

    record = Record(frames, len(before), folder / "state", 8)
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
    "kill_at", [*(pytest.param(steps, marks=pytest.mark.slow) for steps in ([0], [40], [300])), [100], [101, 152]], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_to_the_same_end(kind: str, kill_at: list[int], tmp_path: Path) -> None:
    """In the equilibration (100 steps), at its end, in production, twice, and after the last sample."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    whole = go(KINDS[kind](), straight, before="# others\n")
    for step in kill_at:
        with pytest.raises(Killed):
            go(KINDS[kind](), killed, kill_at=step, before="# others\n")
        for file in ("trajectory.extxyz", "state/samples.f64"):
            with (killed / file).open("ab") as stream:
                stream.write(b"half a fra")
    resumed = go(KINDS[kind](), killed, before="# others\n")
    assert_same(straight, killed)
    for field in fields(Trajectory):
        if field.name not in ("start", "wall_s"):
            np.testing.assert_array_equal(getattr(whole, field.name), getattr(resumed, field.name))
    np.testing.assert_array_equal(whole.start.positions, resumed.start.positions)


@pytest.mark.usefixtures("states_at_every_third_sample")
def test_only_what_came_after_the_last_state_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        go(KINDS["langevin"](), tmp_path, kill_at=252)
    state = tmp_path / "state" / "state.npz"
    kept = (tmp_path / "trajectory.extxyz").read_bytes()[: int(read_walker(state).memory["ends"][0])]
    assert 240 <= read_walker(state).step <= 252
    with pytest.raises(Killed):
        go(KINDS["langevin"](), tmp_path, kill_at=0)
    assert (tmp_path / "trajectory.extxyz").read_bytes().startswith(kept)
    assert read_walker(state).step >= 240


def test_a_run_that_has_ended_is_not_repeated(tmp_path: Path) -> None:
    dynamics = KINDS["nve"]()
    before = go(dynamics, tmp_path)
    record = Record(tmp_path / "trajectory.extxyz", 0, tmp_path / "state", 8)
    mute = Calculator()  # answers nothing
    after = simulate(dynamics, atoms(), mute, seed=3, name="test", record=record, progress=print)
    np.testing.assert_array_equal(before.positions, after.positions)
    assert before.wall_s == after.wall_s


@pytest.mark.parametrize("file", ["trajectory.extxyz", "state/samples.f64"])
def test_a_run_whose_files_are_shorter_than_its_state_says_starts_anew(file: str, tmp_path: Path) -> None:
    go(KINDS["langevin"](), tmp_path / "straight")
    go(KINDS["langevin"](), tmp_path / "cut")
    whole = (tmp_path / "cut" / file).read_bytes()
    (tmp_path / "cut" / file).write_bytes(whole[:-1])
    go(KINDS["langevin"](), tmp_path / "cut")
    assert_same(tmp_path / "straight", tmp_path / "cut")


def test_a_run_that_was_stopped_by_the_watchdog_stops_there_again(tmp_path: Path) -> None:
    bounded = KINDS["langevin"](watchdog=watchdog(max_force=0.08))
    said = []
    for _ in range(2):
        with pytest.raises(SimulationError) as caught:
            go(bounded, tmp_path)
        said.append((str(caught.value), (tmp_path / "trajectory.extxyz").read_bytes()))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "changed",
    [{"temperature_K": 31.0}, {"duration_ps": 0.3}, {"timestep_fs": 0.9}, {"friction_per_fs": 0.02}, {"sample_every_fs": 8.0}],
    ids=str,
)
def test_another_configuration_has_another_name(changed: dict[str, Any]) -> None:
    known = identity("potential", KINDS["langevin"](), atoms(), 3)
    assert known == identity("potential", KINDS["langevin"](watchdog=watchdog()), atoms(), 3)
    heavier, moved, stricter = atoms(), atoms(), KINDS["langevin"](watchdog=watchdog(max_force=1.0))
    heavier.set_masses([41.0] * 8)
    moved.positions[0, 0] += 1e-12
    others = [
        identity("potential", KINDS["langevin"](**changed), atoms(), 3),
        identity("another", KINDS["langevin"](), atoms(), 3),
        identity("potential", KINDS["langevin"](), atoms(), 4),
        identity("potential", KINDS["nve"](), atoms(), 3),
        *(identity("potential", KINDS["langevin"](), other, 3) for other in (heavier, moved)),
        identity("potential", stricter, atoms(), 3),
    ]
    assert len({known, *others}) == 8
