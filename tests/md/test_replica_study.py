"""What is said about replicas whose ways are made up."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from md_systems import watchdog
from rich.console import Console
from tracking.stores import tracker

from nnpx import units
from nnpx.md.replica_course import ReplicaCourse, drifts, over_replicas
from nnpx.md.replica_study import ReplicaStudy
from nnpx.md.replicas import Fates, Replicas
from nnpx.report import as_rich
from nnpx.results import simulation_tables

LOOKS, N_ATOMS = 500, 9
LEVELS = (300.0, 900.0)
WORDS = "step 5 (0.0050 ps) of {}: expected no bond stretched by more than 0.7 Å, found atom 1 (C) and atom 2 (H) at 1.9 Å. Add structures."


def course(n: int, temperatures_K: list[float], *, drift: float = 0.0) -> ReplicaCourse:
    """Canonical kinetic energies that know nothing of the look before, and total energies on a line with noise."""
    random = np.random.default_rng(0)
    time = 0.01 * np.arange(1, LOOKS + 1)
    kinetic = random.gamma(13.5, size=(LOOKS, n)) * np.array(temperatures_K) * units.K
    total = N_ATOMS * units.meV * (drift * time[:, None] + random.normal(scale=0.1, size=(LOOKS, n)))
    return ReplicaCourse(time, total - kinetic, kinetic, np.full((LOOKS, n), 2.0 * N_ATOMS * units.meV), N_ATOMS, 3 * N_ATOMS)


def study(friction_per_fs: float = 0.01, **changed: Any) -> ReplicaStudy:
    """Four replicas at each of two temperatures; the third of the second temperature was stopped, hot, at the fifth look."""
    replicas = Replicas(
        engine="batched",
        structure=None,
        temperatures_K=list(LEVELS),
        n_replicas=4,
        timestep_fs=1.0,
        friction_per_fs=friction_per_fs,
        duration_ps=5.0,
        averaged_after_ps=0.5,
        look_every_fs=10.0,
        skin=0.5,
        bond_factor=1.25,
        watchdog=watchdog(),
    )
    known = course(8, [300.0] * 4 + [900.0] * 4, **changed)
    known.kinetic[:5, 6] *= 50.0
    for series in (known.potential, known.kinetic, known.energy_std):
        series[5:, 6] = np.nan
    time, stopped = np.full(8, 5.0), [""] * 8
    time[6], stopped[6] = 0.05, WORDS.format("900K-2")
    return ReplicaStudy("replicas", replicas, Fates(time, stopped, known, steps=35050, wall_s=100.0))


def test_a_stopped_replica_counts_in_the_survival_of_its_temperature_and_in_no_average() -> None:
    found = study().metrics()
    assert (found["replicas"], found["stopped"]) == (8, 1)
    cold, hot = found["by_temperature"]["300K"], found["by_temperature"]["900K"]
    assert (cold["stopped"], cold["alarms"], cold["stability_time_ps"]) == (0, {}, None)
    assert hot["alarms"] == {"900K-2": {"time_ps": 0.05, "alarm": WORDS.format("900K-2")}}
    assert hot["stability_time_ps"] == pytest.approx(15.05)
    for one, kelvin in ((cold, 300.0), (hot, 900.0)):
        assert one["temperature_K"] == pytest.approx(kelvin, rel=0.03)
        assert one["canonical_p_value"] > 0.001
        assert one["spread_meV_per_atom"] == pytest.approx(2.0)
    assert hot["canonical_samples"] == pytest.approx(0.75 * cold["canonical_samples"], rel=0.4)


def test_the_tracker_is_told_every_number_under_the_keys_of_the_metrics(tmp_path: Path) -> None:
    one, track = study(), tracker(tmp_path)
    track.prepare()
    with track.start("simulated", parent=None, tags={}) as run:
        one.log(run)
    kept, found = track.store.client.get_run(run.id).data.metrics, one.metrics()
    hot = found["by_temperature"]["900K"]
    assert kept["simulate/replicas/stopped"] == 1
    assert kept["simulate/replicas/by_temperature/900K/temperature_K"] == hot["temperature_K"]
    assert kept["simulate/replicas/by_temperature/900K/alarms/900K-2/time_ps"] == hot["alarms"]["900K-2"]["time_ps"] == 0.05
    assert not any(name.endswith(("alarm", "300K/stability_time_ps")) for name in kept)


def test_the_beginning_is_left_out_of_averages() -> None:
    """Fifty looks of another temperature."""
    one = study()
    one.fates.course.kinetic[:50] *= 10.0
    assert one.metrics()["by_temperature"]["300K"]["temperature_K"] == pytest.approx(300.0, rel=0.03)
    short = ReplicaStudy("replicas", one.replicas, replace(one.fates, course=one.fates.course.of(np.ones(8, dtype=bool), after=460)))
    assert "temperature_K" not in short.metrics()["by_temperature"]["300K"]


def test_the_error_of_a_mean_is_that_of_independent_replicas() -> None:
    """Of eight that scatter by 1, on average 1/√8; of one replica nothing is known."""
    random = np.random.default_rng(1)
    found = [over_replicas(random.normal(size=8)) for _ in range(1000)]
    assert np.mean([one.error**2 for one in found]) == pytest.approx(1 / 8, rel=0.06)
    assert np.std([one.value for one in found]) == pytest.approx(np.sqrt(1 / 8), rel=0.06)
    assert np.isnan(over_replicas(np.ones(1)).error)


def test_drift_and_fluctuation_are_those_of_the_total_energy() -> None:
    """A drift of 0.5 meV per atom and ps under a noise of 0.1 meV per atom; one of four replicas falls twice as fast."""
    known = course(4, [300.0] * 4, drift=0.5)
    known.potential[:, 2] -= 1.5 * known.time_ps * N_ATOMS * units.meV
    found = drifts(known)
    assert found.mean.value == pytest.approx((3 * 0.5 - 1.0) / 4, abs=0.02)
    assert found.mean.error == pytest.approx(1.5 / 4, rel=0.05)
    assert found.largest.value == pytest.approx(-1.0, abs=5 * found.largest.error)
    assert found.largest.error == pytest.approx(0.1 / np.sqrt(LOOKS) / (5.0 / np.sqrt(12.0)), rel=0.8)
    assert found.fluctuation == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(("friction_per_fs", "said"), [(0.01, "canonical"), (0.0, r"0\.(49|50)\d+ ±")])
def test_the_tables_say_it_by_temperature_and_fit_a_terminal_of_80_columns(friction_per_fs: float, said: str) -> None:
    console = Console(width=80, file=io.StringIO())
    for table in simulation_tables({"replicas": study(friction_per_fs, drift=0.5).metrics()}):
        console.print(as_rich(table))
    told = console.file.getvalue()
    assert re.search(said, told)
    assert "…" not in told
    assert "of 900K-2: expected no bond" in told
    assert len([line for line in told.splitlines() if line.startswith("│ 900K")]) == 2


def test_there_is_a_curve_for_every_temperature() -> None:
    drawn = study().pictures()
    assert list(drawn) == ["replicas_survival", "replicas_temperature"]
    survival, temperature = (figure.axes[0] for figure, _ in drawn.values())
    labels = [text.get_text() for text in drawn["replicas_survival"][0].legends[0].get_texts()]
    assert [label.partition(";")[0] for label in labels] == ["300K: 0 of 4 stopped", "900K: 1 of 4 stopped"]
    assert survival.lines[1].get_ydata()[-1] == pytest.approx(75.0)
    curves = [line.get_ydata() for line in temperature.lines if len(line.get_ydata()) > 2]
    for curve, kelvin in zip(curves, LEVELS, strict=True):
        assert np.mean(curve) == pytest.approx(kelvin, rel=0.03)
    assert len(temperature.collections) == 2
    assert len(study(0.0).pictures()["replicas_temperature"][0].axes[0].lines) == 2  # without baths they have no temperature to be at
