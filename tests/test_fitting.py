"""What is taken from the labels before anything is learned."""

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from nnpx.fitting import without_prior
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_atoms
from nnpx.prior.zbl import ZBL
from nnpx.testing.structures import skewed_crystal

#: finite displacement and strain
STEP = 1e-5


def what_the_prior_takes(atoms: Atoms) -> AtomicGraph:
    """Labels that were zero, without a repulsion that reaches most of the neighbours."""
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(labelled, energy=0.0, forces=np.zeros((len(atoms), 3)), stress=np.zeros(6))
    graph = graph_from_atoms(labelled, numbers=[8, 14], cutoff=6.0, where="a crystal")
    return without_prior(graph, ZBL(reach_factor=2.5, power=6, numbers=[8, 14]))


def energy(atoms: Atoms) -> float:
    return -float(what_the_prior_takes(atoms).energy[0])


def test_forces_and_stress_of_the_prior_are_the_derivatives_of_its_energy() -> None:
    atoms = skewed_crystal([14, 8])
    taken = what_the_prior_takes(atoms)
    assert energy(atoms) > 1.0
    for i, axis in ((0, 0), (3, 2)):
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[i, axis] -= STEP
        moved[1].positions[i, axis] += STEP
        expected = -(energy(moved[1]) - energy(moved[0])) / (2.0 * STEP)
        torch.testing.assert_close(-taken.forces[i, axis].item(), expected, rtol=1e-6, atol=1e-7)
    for a, b in ((0, 0), (1, 2)):
        strained = []
        for sign in (-1.0, 1.0):
            deformation = np.eye(3)
            deformation[a, b] += sign * STEP / 2.0
            deformation[b, a] += sign * STEP / 2.0
            strained.append(atoms.copy())
            strained[-1].set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        expected = (energy(strained[1]) - energy(strained[0])) / (2.0 * STEP) / atoms.get_volume()
        torch.testing.assert_close(-taken.stress[0, a, b].item(), expected, rtol=1e-6, atol=1e-9)


def test_labels_without_the_prior_are_numbers_that_no_gradient_flows_through() -> None:
    taken = what_the_prior_takes(skewed_crystal([14, 8]))
    assert not any(value.requires_grad for value in taken.to_dict().values() if torch.is_tensor(value))
