"""The power spectrum of nnpx against that of DScribe: prints the one factor between them and the largest difference after it.

    python tests/benchmarks/soap_dscribe.py write FILE      with nnpx: a molecule and the spectrum at one point, in float64
    python tests/benchmarks/soap_dscribe.py compare FILE    with DScribe (pip install dscribe==2.1.2), in an environment of its own

DScribe counts the central atom and has no cutoff function; therefore the centre is a point without an atom, all atoms are inside,
and f_c = 1. The radial functions are DScribe's, the polynomials (r_c − r)^{n+2} made orthonormal without normalising them first.
"""

import json
import sys
from pathlib import Path

RADIUS, WIDTH, N_MAX, L_MAX = 7.0, 0.5, 4, 6
NUMBERS = [1, 6, 7, 8]
CENTER = [0.3, -0.4, 0.9]


def write(file: Path) -> None:
    """Acetamide, and the spectrum with every element and radial function by itself."""
    import torch
    from ase.build import molecule

    from nnpx.cutoff import Cutoff
    from nnpx.descriptor.soap import SOAP
    from nnpx.graph import Edges
    from nnpx.radial import Radial

    class One(Cutoff):
        smoothness = 0

        def envelope(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(x)

    power = torch.arange(3, N_MAX + 3, dtype=torch.float64)
    both = power[:, None] + power + 1.0
    value, columns = torch.linalg.eigh(2.0 * RADIUS ** (both + 2.0) / (both * (both + 1.0) * (both + 2.0)))
    inverse_root = columns / value.sqrt() @ columns.T

    class Polynomials(Radial):
        n_functions = N_MAX

        def forward(self, distance: torch.Tensor) -> torch.Tensor:
            return (RADIUS - distance)[:, None] ** torch.arange(3, N_MAX + 3) @ inverse_root

        def names(self) -> list[str]:
            return [f"power {n + 2}" for n in range(1, N_MAX + 1)]

    atoms = molecule("CH3CONH2")
    atoms.rattle(0.1, seed=5)
    parts = {"cutoff": One(radius=RADIUS), "radial": Polynomials(), "n_channels": len(NUMBERS), "generator": torch.Generator()}
    soap = SOAP(**parts, n_densities=None, l_max=L_MAX, width=WIDTH)
    vector = torch.tensor(atoms.positions - CENTER)
    neighbor = torch.arange(1, len(atoms) + 1)
    edges = Edges(
        torch.zeros_like(neighbor), neighbor, torch.zeros_like(vector), vector, torch.linalg.vector_norm(vector, dim=1), len(atoms) + 1
    )
    chemistry = torch.zeros(len(atoms) + 1, len(NUMBERS), dtype=torch.float64)
    chemistry[neighbor, [NUMBERS.index(z) for z in atoms.numbers]] = 1.0
    spectrum = dict(zip(soap.names(), soap(edges, chemistry)[0].tolist(), strict=True))
    file.write_text(json.dumps({"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(), "spectrum": spectrum}))


def compare(file: Path) -> None:
    """Component by component, in the order of DScribe: pairs of elements, then l, n and n'."""
    import numpy as np
    from ase import Atoms
    from dscribe.descriptors import SOAP

    kept = json.loads(file.read_text())
    soap = SOAP(species=NUMBERS, r_cut=RADIUS, n_max=N_MAX, l_max=L_MAX, sigma=WIDTH, rbf="polynomial", periodic=False)
    theirs = soap.create(Atoms(kept["numbers"], kept["positions"]), centers=[CENTER])[0]
    ours = np.zeros_like(theirs)
    for a, first in enumerate(NUMBERS):
        for b, second in enumerate(NUMBERS[a:], start=a):
            pairs = [(n, m) for n in range(N_MAX) for m in range(n if a == b else 0, N_MAX)]
            names = [(order, sorted((n * len(NUMBERS) + a, m * len(NUMBERS) + b))) for order in range(L_MAX + 1) for n, m in pairs]
            ours[soap.get_location((first, second))] = [kept["spectrum"][f"l={order} densities {p},{q}"] for order, (p, q) in names]
    factor = float(ours @ theirs / (theirs @ theirs))
    worst = float(np.abs(ours / factor - theirs).max() / np.abs(theirs).max())
    cosine = float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs))
    print(f"{len(theirs)} components: factor {factor:.9f}, largest difference {worst:.1e} of the largest, 1 − cosine {1 - cosine:.1e}")


if __name__ == "__main__":
    {"write": write, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
