"""A neural network potential is one smooth energy, so velocity Verlet conserves it."""

from pathlib import Path

import pytest
from ase.build import molecule
from benchmarks.nve import measure

from nnpx.calculator import Calculator
from nnpx.cli import run_verb
from nnpx.config import compose

SMALL = [
    *("tracking=none", "ensemble=single", "network.hidden=[16]", "trainer.max_epochs=60"),
    *("data.n_trajectories=1", "data.n_frames=40", "data.n_equilibration=50", "data.n_displaced=100"),
    *("descriptor.angular.n_shells=3", "descriptor.angular.zetas=[1,4]"),
]


@pytest.mark.slow
def test_total_energy_of_ethanol_drifts_less_than_1e_3_meV_per_atom_and_ps(tmp_path: Path) -> None:
    """20 ps of NVE at 300 K and 0.5 fs in float64; the fluctuation falls as the square of the time step."""
    config = compose(SMALL)
    for verb in ("label", "prepare", "train"):
        run_verb(verb, config, tmp_path, alone=True)
    found = measure(molecule("CH3CH2OH"), Calculator(tmp_path / "models" / "potential.nnpx"))
    assert abs(found.drift) < 1e-3 + 3 * found.drift_error
    assert found.drift_error < 1e-3
    assert found.exponent == pytest.approx(2.0, abs=0.1)
