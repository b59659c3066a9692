"""Conservation of energy of a trained potential: python tests/benchmarks/nve.py ARTIFACT [STRUCTURE] [--ps 20]

The exponent with which the fluctuation of the total energy falls with the time step between 0.25 and 1 fs (2 for velocity Verlet on a
smooth potential, within 0.1), and the drift in 20 ps of NVE at 300 K and 0.5 fs, twice: of the total energy H, and of the energy

    H̃ = H + Δt² (v·V″v / 12 − F·m⁻¹F / 24)                                  Hairer, Lubich and Wanner 2003, doi:10.1017/S0962492902000144

that velocity Verlet conserves to the next order. H follows the share of the energy that the fast vibrations happen to hold, by
(ωΔt)²/8 of it, which looks like a drift of some 0.0005 meV/atom/ps within 20 ps; H̃ is free of that.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator
from ase.io import read

from nnpx import units
from nnpx.calculator import Calculator
from nnpx.config import compose, instantiate
from nnpx.md.observables import conservation, slope
from nnpx.md.runner import simulate
from nnpx.md.trajectory import Trajectory

TIMESTEPS_FS = (0.25, 0.5, 1.0)
#: short trajectories per time step
STARTS = 10


@dataclass(frozen=True)
class NVEResult:
    """Drifts and their errors in meV/atom/ps; σ(E) in meV/atom at each time step; the exponent of σ(E) in the time step."""

    drift: float
    drift_error: float
    modified_drift: float
    modified_drift_error: float
    sigma: dict[float, float]
    exponent: float
    wall_s: float


def run(option: str, atoms: Atoms, calculator: BaseCalculator, **numbers: object) -> Trajectory:
    """One trajectory of an option of `md`, with some of its numbers replaced."""
    return run_with_frames(option, atoms, calculator, numbers)[0]


def run_with_frames(option: str, atoms: Atoms, calculator: BaseCalculator, numbers: dict[str, object]) -> tuple[Trajectory, list[Atoms]]:
    """The trajectory, and its frames with momenta and forces."""
    values = {"watchdog.max_bond_change": "null", **numbers}
    dynamics = instantiate(compose([f"md={option}", *(f"md.{key}={value}" for key, value in values.items())]).md)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trajectory.extxyz"
        trajectory = simulate(dynamics, atoms, calculator, seed=0, name=option, file=file, progress=lambda done, steps: None)
        return trajectory, read(file, ":")


def measure(atoms: Atoms, calculator: BaseCalculator, *, length_ps: float = 20.0, temperature_K: float = 300.0) -> NVEResult:
    """Equilibrate once, then run NVE: short pieces from the same starts at every time step, and one long piece for the drift."""
    warm = run("langevin", atoms, calculator, temperature_K=temperature_K, timestep_fs=0.5, equilibration_ps=0.5, duration_ps=1.0)
    starts = []
    for positions in warm.positions[:: max(1, len(warm.positions) // STARTS)][:STARTS]:
        start = warm.start.copy()
        start.positions = positions
        starts.append(start)
    common = {"temperature_K": temperature_K, "equilibration_ps": 0.0}
    # in so short a time every time step sees the same vibrations; later, chaos gives each of them another share of the energy
    sigma = {
        dt: float(
            np.mean(
                [
                    _fluctuation(run("nve", start, calculator, timestep_fs=dt, duration_ps=0.1, sample_every_fs=1.0, **common))
                    for start in starts
                ]
            )
        )
        for dt in TIMESTEPS_FS
    }
    exponent = np.polyfit(np.log(list(sigma)), np.log(list(sigma.values())), 1)[0]
    long, frames = run_with_frames(
        "nve", starts[-1], calculator, {"timestep_fs": 0.5, "duration_ps": length_ps, "sample_every_fs": 0.5, **common}
    )
    plain = conservation(long).drift
    modified = slope(long.time_ps[1:-1], modified_energy(long, frames) / len(start) / units.meV)
    return NVEResult(plain.value, plain.error, modified.value, modified.error, sigma, float(exponent), long.wall_s)


def modified_energy(trajectory: Trajectory, frames: list[Atoms]) -> np.ndarray:
    """H̃ (eV) of a trajectory of velocity Verlet sampled at every step, without its first and last sample.

    v·V″v = −v·dF/dt, from the forces one step before and after.
    """
    timestep = trajectory.timestep_fs * units.fs
    masses = trajectory.start.get_masses()[:, None]
    velocities = np.array([frame.get_momenta() for frame in frames]) / masses
    forces = np.array([frame.get_forces() for frame in frames])
    curvature = -(velocities[1:-1] * (forces[2:] - forces[:-2])).sum((1, 2)) / (2.0 * timestep)
    push = (forces**2 / masses).sum((1, 2))[1:-1]
    return trajectory.total[1:-1] + timestep**2 * (curvature / 12.0 - push / 24.0)


def _fluctuation(trajectory: Trajectory) -> float:
    return float(trajectory.total.std() / len(trajectory.start) / units.meV)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("structure", nargs="?", type=Path, help="file whose first structure is the start; without it, ethanol")
    parser.add_argument("--ps", type=float, default=20.0)
    options = parser.parse_args()
    atoms = read(options.structure, 0) if options.structure else molecule("CH3CH2OH")
    found = measure(atoms, Calculator(options.artifact), length_ps=options.ps)
    sys.stdout.write(json.dumps(vars(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
