"""A system with a known truth, and numbers for dynamics."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

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


class Pairs(Calculator):
    """Lennard-Jones for a few argon atoms without a cell, all pairs at once."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's interface

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        i, j = np.triu_indices(len(self.atoms), 1)
        vector = self.atoms.positions[j] - self.atoms.positions[i]
        square = (vector**2).sum(1)
        sixth = (3.4**2 / square) ** 3
        push = (24.0 * 0.0104 * (2.0 * sixth**2 - sixth) / square)[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, j, push)
        np.subtract.at(forces, i, push)
        self.results = {"energy": 4.0 * 0.0104 * (sixth**2 - sixth).sum(), "forces": forces}


def sampled(atoms: Atoms, positions: np.ndarray, **changed: Any) -> Trajectory:
    """A trajectory of given positions, 10 fs apart, at rest unless told otherwise."""
    n = len(positions)
    zeros, nothing = np.zeros(n), np.full(n, np.nan)
    numbers: dict[str, Any] = {
        "start": atoms,
        "degrees_of_freedom": 3 * len(atoms),
        "timestep_fs": 1.0,
        "time_ps": np.arange(n) * 0.01,
        "positions": positions,
        "potential": zeros,
        "kinetic": zeros,
        "energy_std": zeros,
        "steps": n,
        "wall_s": 1.0,
        "velocities": np.zeros_like(positions),
        "cell": np.repeat(atoms.cell.array[None], n, 0),
        "conserved": nothing,
        "pressure": nothing,
    }
    return Trajectory(**{**numbers, **changed})


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
