"""A neural network potential is one smooth energy, so velocity Verlet conserves it."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from benchmarks.nve import measure, modified_energy, run_with_frames

from nnpx.calculator import Calculator
from nnpx.config import compose
from nnpx.verbs import run_verb

TRAINED = ["tracking=none", "ensemble=single", "trainer.max_epochs=100"]


@pytest.mark.slow
def test_total_energy_of_ethanol_drifts_less_than_1e_3_meV_per_atom_and_ps(tmp_path: Path) -> None:
    """20 ps of NVE at 300 K and 0.5 fs in float64; the fluctuation falls as the square of the time step.

    H̃ is what Verlet conserves; H wanders with the share of the fast vibrations, by some 6e-4 in so short a time.
    """
    config = compose(TRAINED)
    for verb in ("label", "prepare", "train"):
        run_verb(verb, config, tmp_path, alone=True)
    found = measure(molecule("CH3CH2OH"), Calculator(tmp_path / "models" / "potential.nnpx"))
    assert abs(found.modified_drift) < 1e-4
    assert abs(found.drift) < 2e-3
    assert found.exponent == pytest.approx(2.0, abs=0.1)


def test_the_modified_energy_of_a_harmonic_molecule_is_conserved_to_the_next_order(argon: Atoms, lennard_jones: LennardJones) -> None:
    """σ(H̃) falls as Δt⁴ where σ(H) falls as Δt²."""
    sigma = []
    for timestep in (10.0, 20.0):
        numbers = {"timestep_fs": timestep, "sample_every_fs": timestep, "equilibration_ps": 0.0, "duration_ps": 4.0, "temperature_K": 10.0}
        trajectory, frames = run_with_frames("nve", argon, lennard_jones, {**numbers, "watchdog.max_isolation": 8.0})
        sigma.append([trajectory.total.std(), modified_energy(trajectory, frames).std()])
    (plain, modified), (plain_coarse, modified_coarse) = sigma
    assert np.log2(plain_coarse / plain) == pytest.approx(2.0, abs=0.2)
    assert np.log2(modified_coarse / modified) == pytest.approx(4.0, abs=0.4)
    assert modified < 0.1 * plain
