"""A neural network potential is one smooth energy, so velocity Verlet conserves it."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from benchmarks.nve import equilibrated, follow, measure
from small import carbons

from nnpx.calculator import Calculator
from nnpx.config import compose
from nnpx.ensemble import Ensemble
from nnpx.md.walker import start_walker
from nnpx.verbs import run_verb

TRAINED = ["tracking=none", "ensemble=single", "trainer.max_epochs=100"]


@pytest.mark.slow
def test_total_energy_of_ethanol_drifts_less_than_1e_3_meV_per_atom_and_ps(tmp_path: Path) -> None:
    """Mean over 16 replicas of 20 ps of NVE at 300 K and 0.5 fs in float64; the fluctuation falls as the square of the time step.

    H̃ is what Verlet conserves; H wanders in each replica with the share of the fast vibrations.
    """
    config = compose(TRAINED)
    for verb in ("label", "prepare", "train"):
        run_verb(verb, config, tmp_path, alone=True)
    found = measure(molecule("CH3CH2OH"), Calculator(tmp_path / "models" / "potential.nnpx"))
    assert abs(found.modified_drift) < 1e-4
    assert found.drift_error <= 5e-4
    assert abs(found.drift) <= 1e-3
    assert found.exponent == pytest.approx(2.0, abs=0.1)


def test_the_modified_energy_of_a_crystal_is_conserved_to_the_next_order(repulsion: Ensemble) -> None:
    """σ(H̃) falls as Δt⁴ where σ(H) falls as Δt²."""
    sigma = []
    for timestep in (2.0, 4.0):
        walkers = [start_walker(carbons(1)[0], temperature_K=100.0, seed=[3, k]) for k in range(4)]
        found = follow(repulsion, walkers, timestep_fs=timestep, steps=round(200 / timestep), every=2)
        sigma.append([found.total.std(0).mean(), found.modified.std(0).mean()])
    (plain, modified), (plain_coarse, modified_coarse) = sigma
    assert np.log2(plain_coarse / plain) == pytest.approx(2.0, abs=0.2)
    assert np.log2(modified_coarse / modified) == pytest.approx(4.0, abs=0.4)
    assert modified < 0.1 * plain


def test_energies_are_sampled_at_equal_times_and_the_start_is_in_equilibrium(repulsion: Ensemble) -> None:
    walkers = equilibrated(carbons(1)[0], repulsion, replicas=2, temperature_K=100.0, length_ps=0.02)
    for walker in walkers:
        np.testing.assert_allclose(walker.atoms.get_momenta().sum(0), 0.0, atol=1e-12)
    found = follow(repulsion, walkers, timestep_fs=2.0, steps=20, every=5)
    np.testing.assert_allclose(found.time_ps, [0.008, 0.018, 0.028, 0.038])
    assert found.total.shape == found.modified.shape == (4, 2)
