"""Small systems with a known truth, and dynamics to run on them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from md_systems import settings
from small import CONFIG, carbons, graph_of, potential_for

from nnpx.ensemble import Ensemble
from nnpx.md.langevin import Langevin
from nnpx.md.nve import NVE
from nnpx.md.record import Joined, Record
from nnpx.md.runner import simulate
from nnpx.md.trajectory import Trajectory
from nnpx.potential import Potential


@pytest.fixture
def argon() -> Atoms:
    """Four argon atoms in the minimum of Lennard-Jones: a tetrahedron."""
    edge = 2.0 ** (1 / 6) * 3.4
    return Atoms("Ar4", np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * edge / np.sqrt(8.0))


@pytest.fixture
def lennard_jones() -> LennardJones:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=40.0, smooth=False)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Trajectory]:
    """Run dynamics into a fresh file."""

    def go(kind: type[NVE] | type[Langevin], atoms: Atoms, calculator: Calculator, seed: int = 0, **changed: Any) -> Trajectory:
        dynamics = kind(**settings(**changed))
        record = Record(Path(mkdtemp(dir=tmp_path)), len(atoms), Joined(tmp_path / "trajectory.extxyz"))
        return simulate(dynamics, atoms, calculator, seed=seed, name="test", record=record, progress=lambda done, of: None)

    return go


@pytest.fixture(scope="session")
def repulsion() -> Ensemble:
    """Nothing but ZBL, out to 3 Å: in a cell the atoms have nowhere to go and form a crystal."""
    return Ensemble([wall(2.0)]).requires_grad_(requires_grad=False)


@pytest.fixture(scope="session")
def repulsions() -> Ensemble:
    """Two that reach differently far, and so never agree."""
    return Ensemble([wall(2.0), wall(1.8)]).requires_grad_(requires_grad=False)


def wall(reach_factor: float) -> Potential:
    """ZBL to so many times the sum of the covalent radii."""
    prior = {"_target_": "nnpx.prior.zbl.ZBL", "reach_factor": reach_factor, "power": 6}
    no_angles = {**CONFIG["descriptor"], "angular_radius": 1.0}
    potential = potential_for(graph_of(carbons(2)), config={**CONFIG, "prior": prior, "descriptor": no_angles})
    potential.energy_scale.zero_()
    return potential
