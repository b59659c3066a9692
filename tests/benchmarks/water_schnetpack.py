"""SchNetPack's errors on water after a given time: python water_schnetpack.py training.extxyz test.extxyz schnet|painn SECONDS

In an environment with SchNetPack 2.2.0, one thread (`OMP_NUM_THREADS=1`). The time is processor time of the training alone; eight
structures are left out, as nnpx leaves eight to validate. Structures and labels are those of `deepmd_water.py`.
"""

import json
import math
import sys
import time

import numpy as np
import schnetpack
import torch
from ase import Atoms
from ase.io import read
from schnetpack.transform import MatScipyNeighborList

#: radius of the neighbour list, Å; width of the representation; structures that are left out
CUTOFF, WIDTH, N_LEFT_OUT = 5.0, 64, 8
#: largest learning rate, what remains of it in the end, and updates to reach it
RATE, LAST, WARM_UP = 1e-3, 0.01, 200
#: of (error of the energy)² / atoms beside that of a force component squared; largest norm of the gradient
ENERGY_WEIGHT, CLIP = 0.1, 10.0

Example = tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]


def example(atoms: Atoms, mean_energy: float) -> Example:
    """Inputs, energy beyond the mean (eV), forces (eV/Å)."""
    inputs = schnetpack.interfaces.AtomsConverter(neighbor_list=MatScipyNeighborList(cutoff=CUTOFF))([atoms])
    energy = torch.tensor([atoms.get_potential_energy() - mean_energy], dtype=torch.float32)
    return inputs, energy, torch.tensor(atoms.get_forces(), dtype=torch.float32)


def network(kind: str) -> torch.nn.Module:
    """SchNet or PaiNN with three interactions."""
    representation = {"schnet": schnetpack.representation.SchNet, "painn": schnetpack.representation.PaiNN}[kind](
        n_atom_basis=WIDTH,
        n_interactions=3,
        radial_basis=schnetpack.nn.GaussianRBF(20, CUTOFF),
        cutoff_fn=schnetpack.nn.CosineCutoff(CUTOFF),
    )
    atomistic = schnetpack.atomistic
    outputs = [atomistic.Atomwise(n_in=WIDTH, output_key="energy"), atomistic.Forces(energy_key="energy", force_key="forces")]
    return schnetpack.model.NeuralNetworkPotential(representation, input_modules=[atomistic.PairwiseDistances()], output_modules=outputs)


def predict(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Energy and forces; the model writes into what it is given."""
    found = model({name: value.clone() for name, value in inputs.items()})
    return found["energy"], found["forces"]


def train(model: torch.nn.Module, examples: list[Example], seconds: float, random: np.random.Generator) -> int:
    """Updates of one structure each for the given processor time; returns how many."""
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0)
    begin, n_updates = time.process_time(), 0
    while (passed := (time.process_time() - begin) / seconds) < 1.0:
        if n_updates % len(examples) == 0:
            order = random.permutation(len(examples))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (n_updates + 1) / WARM_UP) * (LAST + (1.0 - LAST) * 0.5 * (1.0 + math.cos(math.pi * passed)))
        inputs, energy, forces = examples[order[n_updates % len(examples)]]
        found_energy, found_forces = predict(model, inputs)
        error = ENERGY_WEIGHT * ((found_energy - energy) ** 2 / len(forces)).mean() + ((found_forces - forces) ** 2).mean()
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        n_updates += 1
    return n_updates


def main() -> None:
    """Train on one file, and print the errors on the other."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    files, kind, seconds = sys.argv[1:3], sys.argv[3], float(sys.argv[4])
    known, asked = (read(file, index=":") for file in files)
    mean_energy = float(np.mean([atoms.get_potential_energy() for atoms in known]))
    random = np.random.default_rng(0)
    chosen = random.permutation(len(known))[N_LEFT_OUT:]
    model = network(kind)
    n_updates = train(model, [example(known[k], mean_energy) for k in chosen], seconds, random)
    model.eval()
    of_energies, of_forces = [], []
    for inputs, energy, forces in (example(atoms, mean_energy) for atoms in asked):
        found_energy, found_forces = predict(model, inputs)
        of_energies.append((found_energy - energy).item() / len(forces))
        of_forces.append((found_forces - forces).detach().numpy())
    rmse = {"energy_rmse_meV_per_atom": np.array(of_energies), "force_rmse_meV": np.concatenate(of_forces)}
    errors = {name: round(1e3 * float(np.sqrt(np.mean(found**2))), 2) for name, found in rmse.items()}
    print(json.dumps({"kind": kind, "updates": n_updates, "seconds": seconds, **errors}))


if __name__ == "__main__":
    main()
