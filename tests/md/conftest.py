"""Small systems with a known truth, and dynamics to run on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from nnpx.md.langevin import Langevin
from nnpx.md.nve import NVE
from nnpx.md.runner import simulate
from nnpx.md.trajectory import Trajectory
from nnpx.md.watchdog import Watchdog


class Springs(Calculator):
    """V = ½ k Σ |r − r0|²: every atom on its own spring, so that every average over the canonical ensemble is known."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's interface

    def __init__(self, atoms: Atoms, stiffness: float) -> None:
        super().__init__()
        self.home, self.stiffness = atoms.positions.copy(), stiffness

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self.home
        self.results = {"energy": 0.5 * self.stiffness * (away**2).sum(), "forces": -self.stiffness * away}


def watchdog(**changed: float | None) -> Watchdog:
    bounds: dict[str, Any] = {
        "min_distance": 0.5,
        "max_bond_change": None,
        "max_isolation": None,
        "max_force": 1e3,
        "max_temperature_ratio": 20.0,
    }
    return Watchdog(**{**bounds, **changed})


def settings(**changed: Any) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "engine": "ase",
        "structure": None,
        "timestep_fs": 1.0,
        "temperature_K": 30.0,
        "friction_per_fs": 0.01,
        "equilibration_ps": 0.0,
        "duration_ps": 1.0,
        "sample_every_fs": 4.0,
        "bond_factor": 1.25,
        "compare": False,
        "watchdog": watchdog(),
    }
    return {**numbers, **changed}


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
        return simulate(
            dynamics, atoms, calculator, seed=seed, name="test", file=tmp_path / "trajectory.extxyz", progress=lambda done, of: None
        )

    return go
