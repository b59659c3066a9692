"""All descriptors on liquid water, each trained for the same time: python tests/benchmarks/water.py DATA FOLDER [--seconds 240]

DATA holds data_0 (trains) and data_3 (tests) of DeePMD-kit's example, examples/water/data: 80 + 80 frames of 64 molecules at PBE0+TS. 8 of
the 80 frames validate. Two short trainings tell how long an epoch takes, a third one fills the time. One JSON line per option; an
interrupted comparison goes on. On as many threads as OMP_NUM_THREADS says.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from nnpx.files import read_json

#: what all have in common: the same radial functions, and one network per element
COMMON = [
    "experiment=quickstart",
    "tracking=none",
    "data=extxyz",
    "data.path=train.extxyz",
    "data.path_test=test.extxyz",
    "data.split.n_valid=8",
    "data.split.n_test=0",
    "radial=bessel",
    "radial.n_functions=8",
    "ensemble=single",
    "trainer.batch_size=1",
    "trainer.patience_epochs=100000",
]
OPTIONS = ["acsf", "acsf_wide", "aev", "nep", "soap", "gaussian_moments", "moments", "moments_medium", "ace", "moments_messages"]


def convert(folder: Path, path: Path) -> None:
    """Arrays of DeePMD-kit as labelled structures, eV and Å."""
    kinds = [line.split()[0] for line in (folder / "type_map.raw").read_text().splitlines()]
    symbols = [kinds[int(word)] for word in (folder / "type.raw").read_text().split()]
    frames = []
    for part in sorted(folder.glob("set.*")):
        cells, places, energies, forces = (np.load(part / f"{name}.npy").astype(float) for name in ("box", "coord", "energy", "force"))
        for cell, place, energy, force in zip(cells, places, energies.ravel(), forces, strict=True):
            atoms = Atoms(symbols, place.reshape(-1, 3), cell=cell.reshape(3, 3), pbc=True)
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=force.reshape(-1, 3))
            frames.append(atoms)
    write(path, frames, format="extxyz")


def train(folder: Path, option: str, epochs: int) -> float:
    """Train in a folder of its own; the seconds that it took."""
    words = [*COMMON, f"descriptor={option}", f"trainer.max_epochs={epochs}"]
    with (folder / "log.txt").open("a") as log:
        subprocess.run([sys.executable, "-m", "nnpx.cli", "train", *words], cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)
    return float(read_json(folder / "models/training.json")["wall_s"])


def measured(data: Path, folder: Path, option: str, seconds: float) -> dict[str, object]:
    """Errors after so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in (("data_0", "train"), ("data_3", "test")):
        convert(data / source, folder / f"{name}.extxyz")
    one, three = train(folder, option, 1), train(folder, option, 3)
    epoch = (three - one) / 2
    epochs = max(1, round((seconds - one) / epoch) + 1)
    wall = train(folder, option, epochs)
    with (folder / "log.txt").open("a") as log:
        subprocess.run(
            [sys.executable, "-m", "nnpx.cli", "evaluate", *COMMON, f"descriptor={option}"], cwd=folder, check=True, stdout=log, stderr=log
        )
    test = read_json(folder / "reports/evaluation/metrics.json")["test"]
    return {
        "option": option,
        "updates": 72 * epochs,
        "seconds": round(wall),
        "force_rmse_meV": round(1e3 * test["forces"]["rmse"], 1),
        "energy_rmse_meV_per_atom": round(1e3 * test["energy_per_atom"]["rmse"], 3),
        "us_per_atom": round(read_json(folder / "models/training.json")["outcome"]["us_per_atom"], 1),
    }


def main() -> None:
    """Measure what has not been measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--options", nargs="*", default=OPTIONS)
    asked = parser.parse_args()
    for option in asked.options:
        result = asked.folder / option / "result.json"
        if not result.is_file():
            result.parent.mkdir(parents=True, exist_ok=True)
            found = measured(asked.data, result.parent, option, asked.seconds)
            result.write_text(json.dumps(found))
        print(result.read_text(), flush=True)


if __name__ == "__main__":
    main()
