"""Convert the mlearn data sets (Zuo et al. 2020, doi:10.1021/acs.jpca.9b08723; github.com/materialsvirtuallab/mlearn) to extxyz.

python mlearn.py training.json training.extxyz
"""

import json
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa


def structure(entry: dict) -> Atoms:
    """One entry as a labelled structure: eV, eV/Å, and stress in eV/Å³ with ASE's sign (in the file: kbar, positive under compression)."""
    sites, outputs = entry["structure"]["sites"], entry["outputs"]
    symbols = [site["species"][0]["element"] for site in sites]
    cell = entry["structure"]["lattice"]["matrix"]
    atoms = Atoms(symbols, positions=[site["xyz"] for site in sites], cell=cell, pbc=True, info={"group": entry["group"]})
    xx, yy, zz, xy, yz, zx = -0.1 * GPa * np.array(outputs["virial_stress"])
    forces, stress = np.array(outputs["forces"]), np.array([xx, yy, zz, yz, zx, xy])
    atoms.calc = SinglePointCalculator(atoms, energy=outputs["energy"], forces=forces, stress=stress)
    return atoms


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    write(target, [structure(entry) for entry in json.loads(source.read_text())], format="extxyz")
