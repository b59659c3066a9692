"""Golden numbers: a change of code that moves them is a change of numerics, to be declared in the changelog.

`python tests/golden/test_golden.py` writes them anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.ensemble import Ensemble
from nnpx.neighbors import graph_from_list
from nnpx.potential import Scales

FILE = Path(__file__).with_name("golden.json")
EXPERIMENTS = {
    "quickstart": [],
    "behler_parrinello": ["experiment=behler_parrinello"],
    "set51": ["descriptor=acsf_set51", "radial=set51"],
    "shared network, learned elements": ["network=mlp", "species_embedding=learned"],
}


def structures() -> list[Atoms]:
    """A molecule, and a strained crystal of three elements."""
    crystal = bulk("CO", "rocksalt", a=4.0, cubic=True)
    crystal.numbers[0] = 1
    crystal.set_cell(crystal.cell.array + np.array([[0, 0.1, 0], [0, 0, 0.2], [0.05, 0, 0]]), scale_atoms=True)
    crystal.positions[0] += [0.1, 0.05, -0.08]
    return [molecule("CH3CH2OH"), crystal]


def numbers_of(overrides: list[str]) -> dict[str, list[float]]:
    """Energies (eV), first forces (eV/Å) and stress (eV/Å³) of random weights of seed 0, in float64."""
    parts = build_parts(compose(overrides), numbers=[1, 6, 8], seed=0)
    shape = (3, parts.descriptor.n_features)
    wide = torch.float64
    scales = Scales(
        torch.full(shape, 0.1, dtype=wide), torch.full(shape, 0.7, dtype=wide), 1.5, -0.3, torch.tensor([-1.0, -2.0, -3.0], dtype=wide)
    )
    graph = graph_from_list(structures(), numbers=[1, 6, 8], cutoff=parts.cutoff_radius, where="golden")
    found = Ensemble([parts.potential(scales).eval()])(graph)
    return {
        "energy": found.energy.tolist(),
        "forces": found.forces[[0, 9]].flatten().tolist(),
        "stress": found.stress[1].flatten().tolist(),
    }


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_numbers_have_not_moved(name):
    golden = json.loads(FILE.read_text())[name]
    for quantity, found in numbers_of(EXPERIMENTS[name]).items():
        torch.testing.assert_close(torch.tensor(found), torch.tensor(golden[quantity]), rtol=1e-9, atol=1e-10, msg=quantity)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: numbers_of(overrides) for name, overrides in EXPERIMENTS.items()}, indent=1) + "\n")
