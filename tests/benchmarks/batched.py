"""Molecular dynamics of many ethanols at once: python tests/benchmarks/batched.py [--steps 20] [OVERRIDES]

Microseconds per atom and step in float64 with random weights: one molecule through ASE, then 1, 8 and 64 replicas in one evaluation
per step. Processor time beside wall time, which others on the machine lengthen.
"""

import argparse
import json
import time

import torch
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from benchmarks.speed import displaced, median_seconds, potential_for

import nnpx
from nnpx import units
from nnpx.ensemble import Ensemble
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import start_walker

REPLICAS = (1, 8, 64)


def main() -> None:
    """Measure and print one JSON line per number of replicas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--budget", type=float, default=4.0)
    parser.add_argument("overrides", nargs="*", help="of the configuration, as for nnpx")
    asked = parser.parse_intermixed_args()
    potential, _ = potential_for(displaced("ethanol", 8), asked.overrides)
    ensemble = Ensemble([potential.to_precision(torch.float64).eval()]).requires_grad_(requires_grad=False)
    walkers = [start_walker(molecule("CH3CH2OH"), temperature_K=30.0, seed=[0, k]) for k in range(max(REPLICAS))]
    atoms = walkers[0].atoms.copy()
    atoms.calc = nnpx.Calculator(ensemble)
    by_ase = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    cases = {"ase, 1": (1, lambda: by_ase.run(asked.steps))}
    for n in REPLICAS:
        engine = BatchedDynamics(ensemble, walkers[:n], timestep_fs=0.5, friction_per_fs=0.0, skin=0.5)  # recorded, as all of them move
        cases[f"batched, {n}"] = (n, lambda engine=engine: engine.advance(asked.steps))
    for name, (n, work) in cases.items():
        durations = {"wall": median_seconds(work, asked.budget)}
        began = time.process_time()
        work()
        durations["processor"] = time.process_time() - began
        print(
            json.dumps(
                {"engine": name, **{f"{kind}_us_per_atom_step": round(1e6 * t / asked.steps / n / 9, 1) for kind, t in durations.items()}}
            )
        )


if __name__ == "__main__":
    main()
