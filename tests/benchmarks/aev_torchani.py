"""The atomic environment vectors of nnpx against those of TorchANI: prints the largest difference for each parameter set.

python tests/benchmarks/aev_torchani.py write FILE      with nnpx: structures and vectors, in float64
python tests/benchmarks/aev_torchani.py compare FILE    with TorchANI (pip install torchani==2.9.0), in an environment of its own
"""

import json
import sys
from pathlib import Path

#: the elements of each model in the order of TorchANI; only those that ascend are compared
ELEMENTS = {"1x": ["H", "C", "N", "O"], "2x": ["H", "C", "N", "O", "F", "Cl"]}
MOLECULES = ["CH3CH2OH", "CH3CONH2", "C6H6", "HCN", "H2O", "CH4", "CH3NO2", "C4H4NH"]


def write(file: Path) -> None:
    """Vectors of rattled molecules by the two experiments."""
    from ase.build import molecule
    from ase.data import atomic_numbers

    from nnpx.assembly import build_parts
    from nnpx.config import compose
    from nnpx.neighbors import graph_from_atoms

    found = {}
    for model, symbols in ELEMENTS.items():
        numbers = [atomic_numbers[symbol] for symbol in symbols]
        parts = build_parts(compose([f"experiment=ani_{model}"]), numbers=numbers, seed=0)
        rows = []
        for k, name in enumerate([*MOLECULES, *(["CH3Cl", "CF4"] if model == "2x" else [])]):
            atoms = molecule(name)
            atoms.rattle(0.1, seed=k)
            graph = graph_from_atoms(atoms, numbers=numbers, cutoff=parts.cutoff_radius, where=name)
            vectors = parts.descriptor(graph.edges(), parts.embedding(graph.species))
            rows.append({"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(), "vectors": vectors.tolist()})
        found[model] = rows
    file.write_text(json.dumps(found))


def compare(file: Path) -> None:
    """The largest difference over all atoms and components."""
    import torch
    from torchani.aev import AEVComputer, ANIAngular, ANIRadial
    from torchani.nn import SpeciesConverter

    for model, rows in json.loads(file.read_text()).items():
        terms = (ANIRadial.like_1x(), ANIAngular.like_1x()) if model == "1x" else (ANIRadial.like_2x(), ANIAngular.like_2x())
        symbols = ELEMENTS[model]
        computer = AEVComputer(*terms, num_species=len(symbols)).double()
        # its constants are made in float32; those that have a short decimal form are restored
        for term, shifts in zip((computer.radial, computer.angular), _shifts(model), strict=True):
            term.shifts = shifts
            term.eta = torch.tensor([round(float(term.eta), 4)], dtype=torch.float64)
        angular = computer.angular
        angular.zeta = torch.tensor([round(float(angular.zeta), 4)], dtype=torch.float64)
        n_angles = len(angular.sections)
        angular.sections = (torch.arange(n_angles, dtype=torch.float64) + 0.5) * torch.pi / n_angles
        worst, largest = 0.0, 0.0
        for row in rows:
            species = SpeciesConverter(symbols)(torch.tensor([row["numbers"]]))
            theirs = computer(species, torch.tensor([row["positions"]], dtype=torch.float64))[0]
            ours = torch.tensor(row["vectors"], dtype=torch.float64)
            worst, largest = max(worst, float((ours - theirs).abs().max())), max(largest, float(theirs.abs().max()))
        print(f"ANI-{model}: {ours.shape[1]} components, largest {largest:.3f}, largest difference {worst:.2e}")


def _shifts(model: str) -> tuple[object, object]:
    import torch

    first, radius, n_shells = (0.9, 5.2, 4) if model == "1x" else (0.8, 5.1, 8)
    even = [torch.linspace(first, end, n + 1, dtype=torch.float64)[:-1] for end, n in ((radius, 16), (3.5, n_shells))]
    return even[0], even[1]


if __name__ == "__main__":
    {"write": write, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
