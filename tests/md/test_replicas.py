"""Many replicas, some of which explode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from md_systems import watchdog
from small import carbons

from nnpx.config import compose, instantiate
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError
from nnpx.md import replica_record as module
from nnpx.md.replica_course import ReplicaCourse
from nnpx.md.replica_study import ReplicaStudy
from nnpx.md.replicas import Fates, Replicas, follow
from nnpx.md.stability import stability, survival
from nnpx.md.walker import start_walker


class Killed(Exception):  # noqa: N818  it is none of the errors that the code knows
    """In place of a signal."""


def made(**changed: Any) -> Replicas:
    numbers: dict[str, Any] = {
        "engine": "batched",
        "structure": None,
        "temperatures_K": [600.0],
        "n_replicas": 5,
        "timestep_fs": 2.0,
        "friction_per_fs": 0.02,
        "duration_ps": 0.2,
        "averaged_after_ps": 0.0,
        "look_every_fs": 8.0,
        "skin": 0.5,
        "bond_factor": 1.25,
        "watchdog": watchdog(),
    }
    return Replicas(**{**numbers, **changed})


def go(ensemble: Ensemble, folder: Path, replicas: Replicas, kill_at: int | None = None) -> Fates:
    start = carbons(1)[0]

    def progress(done: int, of: int) -> None:
        if kill_at is not None and done >= kill_at:
            raise Killed

    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True)
    return follow(replicas, ensemble, atoms, seed=1, folder=folder / "state", frames=folder / "last.extxyz", progress=progress)


def assert_same_course(one: ReplicaCourse, two: ReplicaCourse) -> None:
    """To the last bit."""
    for name, series in vars(one).items():
        np.testing.assert_array_equal(series, getattr(two, name))


@pytest.mark.parametrize("changed", [{"friction_per_fs": 0.02}, {"friction_per_fs": 0.0, "temperatures_K": [600.0, 900.0]}])
def test_replicas_that_were_killed_go_on_to_the_same_end(
    repulsion: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    """Some of them stopped by the watchdog before, some after."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    replicas = made(watchdog=watchdog(max_force=1.45), **changed)
    straight = go(repulsion, tmp_path / "straight", replicas)
    with pytest.raises(Killed):
        go(repulsion, tmp_path / "killed", replicas, kill_at=48)
    resumed = go(repulsion, tmp_path / "killed", replicas)
    assert straight.stopped == resumed.stopped
    assert 0 < sum(bool(words) for words in straight.stopped) < len(straight.stopped)
    np.testing.assert_array_equal(straight.time_ps, resumed.time_ps)
    assert_same_course(straight.course, resumed.course)
    assert (tmp_path / "straight/last.extxyz").read_bytes() == (tmp_path / "killed/last.extxyz").read_bytes()
    again = go(repulsion, tmp_path / "killed", replicas, kill_at=0)
    np.testing.assert_array_equal(again.time_ps, straight.time_ps)
    assert_same_course(straight.course, again.course)
    assert len(read(tmp_path / "killed/last.extxyz", ":")) == len(straight.stopped)


def test_looks_after_the_last_state_are_made_again_and_a_spoiled_course_is_not_gone_on_with(
    repulsion: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States are kept rarely: of the looks between them only the course knows."""
    monkeypatch.setattr(module, "EVERY_S", 1e9)
    replicas = made(n_replicas=2)
    straight = go(repulsion, tmp_path / "straight", replicas)
    with pytest.raises(Killed):
        go(repulsion, tmp_path / "killed", replicas, kill_at=48)
    (kept,) = (tmp_path / "killed" / "state").glob("look-*")
    course = tmp_path / "killed/state/course.f64"
    assert kept.name == "look-000000001"
    assert course.stat().st_size == 12 * 2 * 3 * 8
    assert_same_course(go(repulsion, tmp_path / "killed", replicas).course, straight.course)
    course.write_bytes(course.read_bytes()[:-8] + bytes(8))
    assert_same_course(go(repulsion, tmp_path / "killed", replicas).course, straight.course)
    with pytest.raises(Killed):
        go(repulsion, tmp_path / "broken", replicas, kill_at=48)
    state = tmp_path / "broken/state/look-000000001/00000.npz"
    state.write_bytes(state.read_bytes()[:-40])
    assert_same_course(go(repulsion, tmp_path / "broken", replicas).course, straight.course)


def test_the_course_is_that_of_every_replica_until_it_is_stopped(repulsion: Ensemble, tmp_path: Path) -> None:
    found = go(repulsion, tmp_path, made(watchdog=watchdog(max_force=1.45)))
    np.testing.assert_allclose(found.course.time_ps, 0.008 * np.arange(1, 26))
    for time_ps, potential, kinetic in zip(found.time_ps, found.course.potential.T, found.course.kinetic.T, strict=True):
        followed = found.course.time_ps < time_ps + 1e-6
        assert np.isfinite(potential[followed]).all()
        assert np.isnan(potential[~followed]).all()
        np.testing.assert_array_equal(np.isnan(kinetic), np.isnan(potential))
    frames = read(tmp_path / "last.extxyz", ":")
    last = [np.flatnonzero(np.isfinite(column))[-1] for column in found.course.potential.T]
    energies = np.array([frame.get_potential_energy() for frame in frames])
    np.testing.assert_allclose(found.course.potential[last, range(5)], energies, rtol=1e-8)
    kinetic = np.array([frame.get_kinetic_energy() for frame in frames])
    np.testing.assert_allclose(found.course.kinetic[last, range(5)], kinetic, rtol=1e-6)


def test_every_temperature_has_its_own_canonical_ensemble(repulsion: Ensemble, tmp_path: Path) -> None:
    """⟨T⟩ within its error, and Γ-distributed kinetic energies, at 200 and at 600 K side by side."""
    replicas = made(
        temperatures_K=[200.0, 600.0],
        n_replicas=8,
        timestep_fs=4.0,
        friction_per_fs=0.05,
        duration_ps=1.2,
        averaged_after_ps=0.16,
        look_every_fs=24.0,
    )
    study = ReplicaStudy("replicas", replicas, go(repulsion, tmp_path, replicas))
    for kelvin, found in zip((200.0, 600.0), study.metrics()["by_temperature"].values(), strict=True):
        assert found["temperature_error_K"] < 0.05 * kelvin
        assert found["temperature_K"] == pytest.approx(kelvin, abs=4 * found["temperature_error_K"])
        assert found["canonical_p_value"] > 0.001
        assert found["canonical_samples"] > 50
        assert found["spread_meV_per_atom"] is None
    assert [frame.info["run"] for frame in read(tmp_path / "last.extxyz", ":")][7:9] == ["200K-7", "600K-0"]


def test_a_temperature_beside_others_changes_no_number_of_the_first(repulsion: Ensemble, tmp_path: Path) -> None:
    """Replica k of all draws from [seed, k], whatever stands behind it."""
    short = {"n_replicas": 2, "duration_ps": 0.016}
    alone = go(repulsion, tmp_path / "alone", made(**short))
    beside = go(repulsion, tmp_path / "beside", made(temperatures_K=[600.0, 300.0], **short))
    np.testing.assert_allclose(alone.course.total, beside.course.total[:, :2], rtol=0, atol=1e-10)
    at_once = made(temperatures_K=[600.0, 300.0], n_replicas=2, friction_per_fs=0.0, timestep_fs=0.01, duration_ps=1e-5, look_every_fs=0.01)
    begun = [start_walker(carbons(1)[0], temperature_K=at, seed=[1, k]) for k, at in enumerate((600.0, 600.0, 300.0, 300.0))]
    kinetic = [walker.atoms.get_kinetic_energy() for walker in begun]
    np.testing.assert_allclose(go(repulsion, tmp_path / "at_once", at_once).course.kinetic[0], kinetic, rtol=0.01)


def test_without_friction_every_replica_conserves_its_energy(repulsion: Ensemble, tmp_path: Path) -> None:
    """The fluctuation falls as Δt², and the drift is none within its error."""
    found = []
    for timestep_fs in (1.0, 2.0):
        replicas = made(timestep_fs=timestep_fs, temperatures_K=[100.0], friction_per_fs=0.0, duration_ps=0.4)
        fates = go(repulsion, tmp_path / str(timestep_fs), replicas)
        found.append(ReplicaStudy("replicas", replicas, fates).metrics()["by_temperature"]["100K"])
        assert np.ptp(fates.course.kinetic, axis=0).min() > 20 * np.ptp(fates.course.total, axis=0).max()
    fine, coarse = (one["sigma_total_meV_per_atom"] for one in found)
    assert np.log2(coarse / fine) == pytest.approx(2.0, abs=0.2)
    drift, error = found[0]["drift_meV_per_atom_per_ps"], found[0]["drift_error_meV_per_atom_per_ps"]
    assert abs(drift) < 4 * error
    assert abs(found[0]["largest_drift_meV_per_atom_per_ps"]) >= abs(drift)
    assert "canonical_p_value" not in found[0]


def test_without_friction_the_temperature_is_that_of_the_momenta_that_are_not_conserved(repulsion: Ensemble, tmp_path: Path) -> None:
    """Four atoms in a cell have nine: just after the start ⟨T⟩ is that of the drawn momenta, with 2/9 of its square as variance."""
    replicas = made(temperatures_K=[300.0], n_replicas=60, friction_per_fs=0.0, timestep_fs=0.5, duration_ps=0.0005, look_every_fs=0.5)
    found = ReplicaStudy("replicas", replicas, go(repulsion, tmp_path, replicas)).metrics()["by_temperature"]["300K"]
    error = 300.0 * np.sqrt(2 / 9 / 60)
    assert found["temperature_error_K"] == pytest.approx(error, rel=0.4)
    assert found["temperature_K"] == pytest.approx(300.0, abs=3 * error)


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ("[]", "list of numbers > 0 .1 or more., found .."),
        ("[300, 0]", "list of numbers > 0"),
        ("[300, 300.0]", "expected temperatures that differ"),
    ],
)
def test_temperatures_that_are_none_or_twice_the_same_are_refused(levels: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        instantiate(compose(["md=replicas", f"md.temperatures_K={levels}"]).md)


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
