"""Whether the loop learns a reaction: python tests/benchmarks/proton_transfer.py FOLDER [OVERRIDES]

Malonaldehyde with GFN2-xTB: a proton passes from one oxygen to the other over a barrier of 3.8 kcal/mol. Short dynamics at 300 K stays on
one side; `nnpx learn experiment=learn_reaction` starts from fifty frames of it. One JSON line per round: calculations with the reference,
labelled structures with the proton half way, and energies along the reference's minimum energy path beside those of the reference.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import ase.io
import matplotlib
import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from tblite.ase import TBLite

from nnpx.calculator import Calculator
from nnpx.files import read_json

matplotlib.use("Agg")
import matplotlib.pyplot as plt

KCAL = units.kcal / units.mol
#: flat and symmetric, Å: O=C–C=C–O around a hydrogen; optimised before anything else
SYMBOLS = "C3O2H4"
GUESS = [(0, -1.35), (1.21, -0.65), (-1.21, -0.65), (1.25, 0.65), (-1.25, 0.65), (0, -2.43), (2.14, -1.22), (-2.14, -1.22), (0.25, 0.85)]
#: the same molecule seen in the mirror, whose proton is at the other oxygen
MIRRORED = [0, 2, 1, 4, 3, 5, 7, 6, 8]
DONOR, ACCEPTOR, PROTON = 3, 4, 8


def engine() -> TBLite:
    """GFN2-xTB, tight."""
    return TBLite(method="GFN2-xTB", verbosity=0, accuracy=0.1)


def transfer(atoms: Atoms) -> float:
    """Reaction coordinate, Å: distance of the proton to one oxygen minus that to the other."""
    return float(atoms.get_distance(DONOR, PROTON) - atoms.get_distance(ACCEPTOR, PROTON))


def minimum() -> Atoms:
    """The relaxed molecule."""
    atoms = Atoms(SYMBOLS, [(x, y, 0.0) for x, y in GUESS], calculator=engine())
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=500)
    return atoms


def path(start: Atoms, n_images: int = 15) -> list[Atoms]:
    """Minimum energy path to the mirror image, by a nudged elastic band whose highest image climbs."""
    end = start.copy()
    end.positions = start.positions[MIRRORED] * [-1.0, 1.0, 1.0]
    images = [start.copy() for _ in range(n_images - 1)] + [end]
    for image in images:
        image.calc = engine()
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate("idpp")
    FIRE(band, logfile=None).run(fmax=0.02, steps=500)
    return images


def cold_dynamics(start: Atoms, n_frames: int = 50) -> list[Atoms]:
    """Frames of 4 ps at 300 K."""
    atoms, random = start.copy(), np.random.default_rng(1)
    atoms.calc = engine()
    MaxwellBoltzmannDistribution(atoms, temperature_K=300.0, rng=random)
    frames: list[Atoms] = []
    dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=300.0, friction=0.01 / units.fs, fixcm=False, rng=random)
    for _ in range(n_frames):
        dynamics.run(160)
        frames.append(Atoms(atoms.symbols, atoms.positions))
    return frames


def main() -> None:
    """Learn, unless that is done, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", help="of the configuration, as for nnpx")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    reactant = minimum()
    if not (asked.folder / "start.xyz").is_file():
        ase.io.write(asked.folder / "start.xyz", cold_dynamics(reactant))
    words = ["learn", "experiment=learn_reaction", "data.path=start.xyz", "tracking=none", *asked.overrides]
    subprocess.run([sys.executable, "-m", "nnpx.cli", *words], cwd=asked.folder, check=True)
    images = path(reactant)
    where, truth = [transfer(image) for image in images], _profile(images)
    start = ase.io.read(asked.folder / "start.xyz", ":")
    print(json.dumps({"barrier_kcal": truth.max(), "least_transfer_at_300K": min(abs(transfer(atoms)) for atoms in start)}))
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(where, truth, "k.-", label="GFN2-xTB")
    rounds = sorted((asked.folder / "learn").glob("round_*/potential.nnpx"))
    for potential in rounds:
        calls = read_json(potential.with_name("report.json"))["n_calls"]
        found = _profile(images, Calculator(potential))
        learned = [atoms for data in potential.parent.glob("data/*.extxyz") for atoms in ase.io.read(data, ":")]
        halfway = sum(abs(transfer(atoms)) < 0.2 for atoms in learned)
        numbers = {"barrier_kcal": found.max(), "largest_error_kcal": np.abs(found - truth).max(), **_forces(images, Calculator(potential))}
        print(json.dumps({"round": potential.parent.name, "calls": calls, "halfway": halfway, **numbers}))
        if potential in {rounds[0], rounds[-1]}:
            axes.plot(where, found, ".-", label=f"after {calls} calculations")
    axes.set(xlabel="d(O–H) − d(O′–H) along the path (Å)", ylabel="energy (kcal/mol)")
    axes.legend()
    figure.savefig(asked.folder / "proton_transfer.svg")


def _forces(images: list[Atoms], calculator: Calculator) -> dict[str, float]:
    """Error of the forces along the path and what the potential says of it, root mean square of |ΔF| and of its spread, meV/Å."""
    errors, spreads = [], []
    for image in images:
        one = Atoms(image.symbols, image.positions, calculator=calculator)
        spreads.append(calculator.get_property("forces_std", one))
        errors.append(one.get_forces() - image.get_forces())
    names = {"path_force_rmse_meV": errors, "path_force_spread_meV": spreads}
    return {name: 1e3 * float(np.sqrt((np.array(values) ** 2).sum(-1).mean())) for name, values in names.items()}


def _profile(images: list[Atoms], calculator: Calculator | None = None) -> np.ndarray:
    """Energies over that of the first image, kcal/mol."""
    energies = []
    for image in images:
        one = image.copy()
        one.calc = calculator or engine()
        energies.append(one.get_potential_energy())
    return (np.array(energies) - energies[0]) / KCAL


if __name__ == "__main__":
    main()
