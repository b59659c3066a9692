"""What a run says of itself, in numbers that a tracker keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from md_systems import sampled, settings
from tracking.stores import tracker

from nnpx.figures import svg
from nnpx.md.langevin import Langevin
from nnpx.md.study import Study
from nnpx.md.tables import observable_table
from nnpx.md.trajectory import Trajectory

LENGTH = 0.75


def gas(seed: int) -> Trajectory:
    """Four molecules of hydrogen in a cell, whose bonds vibrate and which wander."""
    random = np.random.default_rng(seed)
    homes = 10.0 * np.indices((2, 2, 1)).reshape(3, -1).T
    atoms = Atoms("H2" * 4, np.stack([homes, homes + np.array([0.0, 0.0, LENGTH])], 1).reshape(-1, 3), cell=[20.0] * 3, pbc=True)
    wandered = np.repeat(0.05 * random.standard_normal((400, 4, 3)).cumsum(0), 2, axis=1)
    frames = atoms.positions + wandered
    frames[:, 1::2, 2] += 0.02 * random.standard_normal((400, 4))
    kinetic = random.gamma(12.0, 30.0 * 8.617e-5, 400)
    return sampled(atoms, frames, degrees_of_freedom=24, kinetic=kinetic, velocities=np.gradient(frames, axis=0))


def study(**changed: Any) -> Study:
    return Study("langevin", Langevin(**settings()), **{"trajectory": gas(0), "reference": gas(1), "note": "", **changed})


def test_every_number_reaches_the_tracker_under_a_name_of_its_own(tmp_path: Path) -> None:
    one, track = study(), tracker(tmp_path)
    track.prepare()
    with track.start("simulated", parent=None, tags={}) as run:
        one.log(run)
    kept, found = track.store.client.get_run(run.id).data.metrics, one.metrics()
    for kind in ("value", "error"):
        assert kept[f"simulate/langevin/diffusion/H/{kind}"] == found["diffusion"]["H"][kind] > 0
    for kind in ("mean", "mean_error", "reference_mean", "reference_mean_error", "spread", "overlap"):
        assert kept[f"simulate/langevin/distributions/H-H/{kind}"] == found["distributions"]["H-H"][kind]
    assert kept["simulate/langevin/distributions/H-H/mean"] == pytest.approx(LENGTH, abs=0.01)
    assert kept["simulate/langevin/temperature_K"] == pytest.approx(30.0, rel=0.1)
    assert not any("unit" in name for name in kept)


def test_the_reference_engine_is_measured_as_the_potential_is() -> None:
    """The numbers of a trajectory are the same whoever made it, and the report states both."""
    found, swapped = study().metrics(), study(trajectory=gas(1), reference=gas(0)).metrics()
    for key in ("temperature_K", "temperature_error_K", "canonical_p_value", "diffusion"):
        assert found[f"reference_{key}"] == swapped[key] != found[key] == swapped[f"reference_{key}"]
    assert not any(key.startswith("reference_") for key in study(reference=None).metrics())
    rows = {row[0]: row for row in observable_table("langevin", found).rows}
    assert rows["temperature"][1] != rows["temperature"][2]
    assert all(rows[label][1] and rows[label][2] for label in ("temperature", "diffusion of H", "highest peak of vibrations"))


def test_figures_show_the_reference_engine_and_what_the_ensemble_expects() -> None:
    drawn = {name: svg(figure) for name, (figure, _) in study().pictures().items()}
    assert "p = " in drawn["langevin_canonical"]
    for name in ("temperature", "canonical", "distances", "distributions"):
        assert "reference" in drawn[f"langevin_{name}"]
    assert "reference" not in svg(study(reference=None).pictures()["langevin_temperature"][0])
