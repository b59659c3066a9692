"""Conservation of energy of a trained potential: python tests/benchmarks/nve.py ARTIFACT [STRUCTURE] [--ps 20] [--replicas 16]

The exponent with which the fluctuation of the total energy falls with the time step between 0.25 and 1 fs (2 for velocity Verlet on a
smooth potential, within 0.1), and the drift in NVE at 300 K and 0.5 fs, twice: of the total energy H, and of the energy

    H̃ = H + Δt² (v·V″v / 12 − F·m⁻¹F / 24)                                  Hairer, Lubich and Wanner 2003, doi:10.1017/S0962492902000144

that velocity Verlet conserves to the next order. H follows the share of the energy that the fast vibrations happen to hold, by
(ωΔt)²/8 of it, which looks like a drift in any one trajectory; H̃ is free of that. So the drift is that of many replicas, started from
equilibrium and advanced together: its mean, with the standard error from their scatter.
"""

import argparse
import json
import sys
import tempfile
import time
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
from nnpx.ensemble import Ensemble
from nnpx.md.batched import BatchedDynamics
from nnpx.md.momenta import remove_rigid_motion
from nnpx.md.record import Record
from nnpx.md.runner import simulate
from nnpx.md.trajectory import Trajectory
from nnpx.md.walker import Walker, start_walker

TIMESTEPS_FS = (0.25, 0.5, 1.0)
#: short trajectories per time step
STARTS = 10


#: how much farther than the cutoff neighbours are listed, Å
SKIN = 0.5
#: Δt of the drift
TIMESTEP_FS = 0.5
#: steps between samples of the energies; so few that the fastest vibration, of 9 fs, is seen
EVERY = 5


@dataclass(frozen=True)
class NVEResult:
    """Drifts and their errors in meV/atom/ps; σ(E) in meV/atom at each time step; the exponent of σ(E) in the time step."""

    replicas: int
    drift: float
    drift_error: float
    modified_drift: float
    modified_drift_error: float
    modified_drift_max: float
    sigma: dict[float, float]
    exponent: float
    wall_s: float


@dataclass(frozen=True)
class Energies:
    """What replicas went through at constant energy."""

    time_ps: np.ndarray
    total: np.ndarray  # H, eV, (sample, walker)
    modified: np.ndarray  # H̃, eV, (sample, walker)


def run(option: str, atoms: Atoms, calculator: BaseCalculator, **numbers: object) -> Trajectory:
    """One trajectory of an option of `md`, with some of its numbers replaced."""
    values = {"watchdog.max_bond_change": "null", **numbers}
    dynamics = instantiate(compose([f"md={option}", *(f"md.{key}={value}" for key, value in values.items())]).md)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder), len(atoms), None)
        return simulate(dynamics, atoms, calculator, seed=0, name=option, record=record, progress=lambda done, steps: None)


def measure(
    atoms: Atoms, calculator: Calculator, *, replicas: int = 16, length_ps: float = 20.0, temperature_K: float = 300.0
) -> NVEResult:
    """Short pieces from the same starts at every time step for the exponent, and long pieces of many replicas for the drift."""
    began = time.perf_counter()
    sigma = fluctuations(atoms, calculator, temperature_K)
    exponent = np.polyfit(np.log(list(sigma)), np.log(list(sigma.values())), 1)[0]
    walkers = equilibrated(atoms, calculator.ensemble, replicas=replicas, temperature_K=temperature_K, length_ps=1.0)
    found = follow(calculator.ensemble, walkers, timestep_fs=TIMESTEP_FS, steps=round(1000.0 * length_ps / TIMESTEP_FS), every=EVERY)
    plain, modified = (np.polyfit(found.time_ps, series, 1)[0] / len(atoms) / units.meV for series in (found.total, found.modified))
    return NVEResult(
        replicas=replicas,
        drift=float(plain.mean()),
        drift_error=standard_error(plain),
        modified_drift=float(modified.mean()),
        modified_drift_error=standard_error(modified),
        modified_drift_max=float(np.abs(modified).max()),
        sigma=sigma,
        exponent=float(exponent),
        wall_s=time.perf_counter() - began,
    )


def fluctuations(atoms: Atoms, calculator: Calculator, temperature_K: float) -> dict[float, float]:
    """σ(E) in meV/atom at each time step, over short pieces from the same starts."""
    warm = run("langevin", atoms, calculator, temperature_K=temperature_K, timestep_fs=0.5, equilibration_ps=0.5, duration_ps=1.0)
    starts = []
    for positions in warm.positions[:: max(1, len(warm.positions) // STARTS)][:STARTS]:
        start = warm.start.copy()
        start.positions = positions
        starts.append(start)
    common = {"temperature_K": temperature_K, "equilibration_ps": 0.0}
    # in so short a time every time step sees the same vibrations; later, chaos gives each of them another share of the energy
    return {
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


def equilibrated(atoms: Atoms, ensemble: Ensemble, *, replicas: int, temperature_K: float, length_ps: float) -> list[Walker]:
    """Replicas after a time in a heat bath with 1/γ = 0.1 ps, freed of their rigid motion."""
    walkers = [start_walker(atoms, temperature_K=temperature_K, seed=[0, k]) for k in range(replicas)]
    BatchedDynamics(ensemble, walkers, timestep_fs=TIMESTEP_FS, friction_per_fs=0.01, skin=SKIN).advance(
        round(1000.0 * length_ps / TIMESTEP_FS)
    )
    for walker in walkers:
        remove_rigid_motion(walker.atoms)
    return walkers


def follow(ensemble: Ensemble, walkers: list[Walker], *, timestep_fs: float, steps: int, every: int) -> Energies:
    """H and H̃ along NVE, sampled one step before the end of every `every` ≥ 2 steps.

    v·V″v = −v·dF/dt, from the forces one step before and after the sample.
    """
    engine = BatchedDynamics(ensemble, walkers, timestep_fs=timestep_fs, friction_per_fs=0.0, skin=SKIN)
    timestep = timestep_fs * units.fs
    total, corrections = [], []
    for _ in range(steps // every):
        engine.advance(every - 2)
        before = [walker.forces for walker in walkers]
        course = engine.advance(1)
        now = [(walker.forces, walker.atoms.get_momenta()) for walker in walkers]
        engine.advance(1)
        total.append(course.potential[0] + course.kinetic[0])
        corrections.append([correction(walker, old, *middle, timestep) for walker, old, middle in zip(walkers, before, now, strict=True)])
    sampled = np.arange(1, len(total) + 1) * every - 1
    return Energies(sampled * timestep_fs / 1000.0, np.array(total), np.array(total) + np.array(corrections))


def correction(walker: Walker, before: np.ndarray, forces: np.ndarray, momenta: np.ndarray, timestep: float) -> float:
    """H̃ − H (eV) one step ago, from the forces then, one step earlier and now."""
    masses = walker.atoms.get_masses()[:, None]
    curvature = -(momenta / masses * (walker.forces - before)).sum() / (2.0 * timestep)
    return float(timestep**2 * (curvature / 12.0 - (forces**2 / masses).sum() / 24.0))


def standard_error(values: np.ndarray) -> float:
    """Of the mean, from the scatter."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _fluctuation(trajectory: Trajectory) -> float:
    return float(trajectory.total.std() / len(trajectory.start) / units.meV)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("structure", nargs="?", type=Path, help="file whose first structure is the start; without it, ethanol")
    parser.add_argument("--ps", type=float, default=20.0)
    parser.add_argument("--replicas", type=int, default=16)
    options = parser.parse_args()
    atoms = read(options.structure, 0) if options.structure else molecule("CH3CH2OH")
    found = measure(atoms, Calculator(options.artifact), replicas=options.replicas, length_ps=options.ps)
    sys.stdout.write(json.dumps(vars(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
