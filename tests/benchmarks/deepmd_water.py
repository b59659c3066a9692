"""Convert a system of DeePMD-kit's numpy format, such as its water (github.com/deepmodeling/deepmd-kit, examples/water/data), to extxyz.

python deepmd_water.py data_0 training.extxyz
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write


def structures(folder: Path) -> list[Atoms]:
    """All frames of a periodic system with energies and forces, which are in eV and eV/Å already."""
    if (folder / "nopbc").exists():
        raise SystemExit(f"{folder}: expected a periodic system, found the file nopbc")
    kinds = (folder / "type_map.raw").read_text().split()
    symbols = [kinds[int(word)] for word in (folder / "type.raw").read_text().split()]
    frames = []
    for part in sorted(folder.glob("set.*")):
        arrays = (np.load(part / f"{name}.npy").astype(float) for name in ("box", "coord", "energy", "force"))
        for box, positions, energy, forces in zip(*arrays, strict=True):
            atoms = Atoms(symbols, positions=positions.reshape(-1, 3), cell=box.reshape(3, 3), pbc=True)
            atoms.calc = SinglePointCalculator(atoms, energy=energy.item(), forces=forces.reshape(-1, 3))
            frames.append(atoms)
    return frames


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    write(target, structures(source), format="extxyz")
