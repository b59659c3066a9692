"""Many replicas, some of which explode."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from md_systems import watchdog
from small import carbons

from nnpx.ensemble import Ensemble
from nnpx.md import replicas as module
from nnpx.md.replicas import Fates, Replicas, follow
from nnpx.md.stability import stability, survival


class Killed(Exception):  # noqa: N818  it is none of the errors that the code knows
    """In place of a signal."""


def go(ensemble: Ensemble, folder: Path, kill_at: int | None = None, **bounds: float) -> Fates:
    replicas = Replicas(
        engine="batched",
        structure=None,
        n_replicas=5,
        timestep_fs=2.0,
        temperature_K=600.0,
        friction_per_fs=0.02,
        duration_ps=0.2,
        look_every_fs=8.0,
        skin=0.5,
        bond_factor=1.25,
        watchdog=watchdog(**bounds),
    )
    start = carbons(1)[0]

    def progress(done: int, of: int) -> None:
        if kill_at is not None and done >= kill_at:
            raise Killed

    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True)
    return follow(replicas, ensemble, atoms, seed=1, folder=folder / "state", frames=folder / "last.extxyz", progress=progress)


def test_replicas_that_were_killed_go_on_to_the_same_end(repulsion: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them stopped by the watchdog before, some after."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    bounds = {"max_force": 1.45}
    straight = go(repulsion, tmp_path / "straight", **bounds)
    with pytest.raises(Killed):
        go(repulsion, tmp_path / "killed", kill_at=48, **bounds)
    resumed = go(repulsion, tmp_path / "killed", **bounds)
    assert straight.stopped == resumed.stopped
    assert 0 < sum(bool(words) for words in straight.stopped) < 5
    np.testing.assert_array_equal(straight.time_ps, resumed.time_ps)
    assert (tmp_path / "straight/last.extxyz").read_bytes() == (tmp_path / "killed/last.extxyz").read_bytes()
    again = go(repulsion, tmp_path / "killed", kill_at=0, **bounds)
    np.testing.assert_array_equal(again.time_ps, straight.time_ps)
    assert len(read(tmp_path / "killed/last.extxyz", ":")) == 5


def test_censored_replicas_count_with_all_their_time() -> None:
    """A hundred replicas of a mean life of 20 ps, followed for 10 ps: two standard errors cover the truth as often as they should."""
    random = np.random.default_rng(0)
    outside, below = 0, 0
    for _ in range(200):
        lives = random.exponential(20.0, 100)
        found = stability(np.minimum(lives, 10.0), lives < 10.0)
        outside += abs(found.time_ps - 20.0) > 2.0 * found.error_ps
        below += found.at_least_ps > 20.0
    assert outside / 200 == pytest.approx(0.05, abs=0.05)
    assert below / 200 == pytest.approx(0.05, abs=0.05)


def test_without_an_alarm_there_is_a_bound_alone() -> None:
    found = stability(np.full(10, 5.0), np.zeros(10, dtype=bool))
    assert np.isnan(found.time_ps)
    assert found.at_least_ps == pytest.approx(50.0 / -np.log(0.05))


def test_survival_is_that_of_kaplan_and_meier() -> None:
    times, shares = survival(np.array([1.0, 2.0, 2.0, 3.0, 4.0]), np.array([True, True, False, False, True]))
    np.testing.assert_allclose(times, [0, 1, 2, 4, 4])
    np.testing.assert_allclose(shares, [1, 4 / 5, 4 / 5 * 3 / 4, 0, 0])
