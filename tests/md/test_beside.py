"""The process of the reference engine, when nobody waits for it any more."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ase.build import bulk
from md_systems import settings

from nnpx.md import beside as module
from nnpx.md.beside import Beside
from nnpx.md.nve import NVE
from nnpx.md.trajectory import read_trajectory
from nnpx.reference.emt import EMT


def compute(folder: Path) -> None:
    module._compute(EMT(), [(NVE(**settings(duration_ps=0.02)), bulk("Cu", cubic=True), folder / "copper.npz")], 3)


def test_the_engine_stops_when_the_process_that_asked_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves nothing, so that the next one cannot meet it."""
    monkeypatch.setattr(module, "parent_process", lambda: SimpleNamespace(is_alive=lambda: False))
    with pytest.raises(SystemExit):
        compute(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    jobs = {"x": (NVE(**settings(duration_ps=2000.0)), bulk("Cu", cubic=True))}
    (tmp_path / "reference-of-a-crash").mkdir()

    def interrupted() -> None:
        with Beside(EMT(), jobs, seed=1, trusted="", folder=tmp_path):
            while not list(tmp_path.glob("reference-*/samples.f64")):
                time.sleep(0.05)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_engine_leaves_its_trajectory_alone(tmp_path: Path) -> None:
    compute(tmp_path)
    assert len(read_trajectory(tmp_path / "copper.npz").time_ps) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["copper.npz"]
