"""An update of a network of TorchANI, to be measured beside nnpx's; a script of its own only because TorchANI may be missing."""

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms


def make_update_of_torchani(structures: list[Atoms], batch: int, device: str) -> Callable[[], None]:
    """One update of one member with the vectors and networks of ANI-1x, on molecules of equal elements: energy, forces, gradients, AdamW.

    Raises:
        ImportError: TorchANI is not installed.
    """
    from torchani.arch import Assembler

    assembler = Assembler()
    assembler.set_symbols(["H", "C", "N", "O"])
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(radial="ani1x", angular="ani1x", strategy="pyaev")
    assembler.set_atomic_networks(ctor="ani1x")
    assembler.set_neighborlist("all_pairs")
    assembler.set_zeros_as_self_energies()
    model = assembler.assemble(1).to(device)
    numbers = torch.tensor(np.array([atoms.numbers for atoms in structures])).to(device)
    positions = torch.tensor(np.array([atoms.positions for atoms in structures]), dtype=torch.float32).to(device)
    energy = torch.tensor([atoms.get_potential_energy() for atoms in structures], dtype=torch.float32).to(device)
    forces = torch.tensor(np.array([atoms.get_forces() for atoms in structures]), dtype=torch.float32).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    def step() -> None:
        some = torch.randperm(len(positions))[:batch].to(device)
        place = positions[some].requires_grad_()
        found = model((numbers[some], place)).energies
        pull = torch.autograd.grad(found.sum(), place, create_graph=True)[0]
        loss = (found - energy[some]).square().mean() + (pull + forces[some]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step
