"""The universal screened repulsion against the published formula."""

import numpy as np
import pytest
import small
import torch
from ase import Atoms
from ase.collections import g2
from ase.data import covalent_radii
from small import ethanols, graph_of, potential_for

from nnpx.config import compose
from nnpx.ensemble import Ensemble
from nnpx.graph import Edges
from nnpx.prior.zbl import ZBL
from nnpx.testing.nouns import PriorCase

NUMBERS = [1, 6, 14, 26]


def published(z1: int, z2: int, r: float) -> float:
    """Ziegler, Biersack & Littmark 1985: universal screening; eV for r in Å."""
    x = r / (0.46850 / (z1**0.23 + z2**0.23))
    phi = 0.18175 * np.exp(-3.19980 * x) + 0.50986 * np.exp(-0.94229 * x) + 0.28022 * np.exp(-0.40290 * x) + 0.02817 * np.exp(-0.20162 * x)
    return float(14.399645 * z1 * z2 / r * phi)


def taper(x: float, p: int) -> float:
    return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2) if x < 1 else 0.0


@pytest.mark.parametrize("distance", [0.1, 0.4, 0.8, 1.2, 1.9])
def test_pairs_follow_the_published_formula(distance: float) -> None:
    prior = ZBL(reach_factor=1.0, power=6, numbers=NUMBERS)
    case = PriorCase(prior, len(NUMBERS))
    for i, z1 in enumerate(NUMBERS):
        for j, z2 in enumerate(NUMBERS):
            expected = published(z1, z2, distance) * taper(distance / (covalent_radii[z1] + covalent_radii[z2]), 6)
            found = float(case.pair(i, j, torch.tensor([distance], dtype=torch.float64)).sum())
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_known_value_of_two_silicon_atoms_at_one_angstrom() -> None:
    """Untapered Si–Si at 1 Å, by hand: a = 0.127665 Å, φ(7.83303) = 0.0180611, V = 14.399645 · 196 · φ = 50.974 eV."""
    far = ZBL(reach_factor=100.0, power=6, numbers=[14])
    found = float(PriorCase(far, 1).pair(0, 0, torch.tensor([1.0], dtype=torch.float64)).sum())
    assert found == pytest.approx(50.974, abs=1e-3)


def test_repulsion_ends_at_the_sum_of_covalent_radii() -> None:
    prior = ZBL(reach_factor=1.0, power=6, numbers=[6, 8])
    reach = covalent_radii[6] + covalent_radii[8]
    energies = PriorCase(prior, 2).pair(0, 1, torch.tensor([reach - 1e-3, reach, reach + 0.5], dtype=torch.float64)).sum(1)
    assert float(energies[0]) > 0.0
    assert energies[1:].tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert prior.reach == pytest.approx(2.0 * max(covalent_radii[6], covalent_radii[8]))


def test_a_bare_nucleus_repels_as_coulomb_says() -> None:
    """V r → e²/(4πε₀) Z Z′ as r → 0."""
    prior = ZBL(reach_factor=1.0, power=6, numbers=[1, 6])
    product = float(PriorCase(prior, 2).pair(0, 1, torch.tensor([1e-6], dtype=torch.float64)).sum()) * 1e-6
    assert product == pytest.approx(6.0 * 14.399645, rel=1e-4)


def test_three_atoms_are_three_pairs() -> None:
    prior = ZBL(reach_factor=1.5, power=6, numbers=NUMBERS)
    positions = np.array([[0.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.2, 1.0, 0.4]])
    species = [0, 1, 2]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    vector = torch.tensor(np.array([positions[j] - positions[i] for i, j in pairs]), dtype=torch.float64)
    center, neighbor = (torch.tensor(index) for index in zip(*pairs, strict=True))
    edges = Edges(center, neighbor, torch.zeros_like(vector), vector, vector.norm(dim=-1), n_atoms=3)
    expected = np.zeros(3)
    for i, j in pairs:
        z1, z2, r = NUMBERS[species[i]], NUMBERS[species[j]], float(np.linalg.norm(positions[j] - positions[i]))
        expected[i] += 0.5 * published(z1, z2, r) * taper(r / (1.5 * (covalent_radii[z1] + covalent_radii[z2])), 6)
    torch.testing.assert_close(prior(edges, torch.tensor(species)), torch.tensor(expected), rtol=1e-6, atol=0.0)


def test_the_shipped_repulsion_ends_before_any_bond_of_the_g2_molecules_begins() -> None:
    """A bond that vibrates across the end of the repulsion would meet its jump in the third derivative."""
    bonds = [
        molecule.get_distance(i, j) / (covalent_radii[molecule.numbers[i]] + covalent_radii[molecule.numbers[j]])
        for molecule in (g2[name] for name in g2.names)
        for i in range(len(molecule))
        for j in range(i)
    ]
    # a bond's thermal amplitude is some 3 % of its length
    assert compose().prior.reach_factor < 0.93 * min(bonds)


def test_a_potential_adds_the_repulsion_to_its_forces() -> None:
    """Of two atoms within its reach, beside others that are not, in the potential and in an ensemble of it."""
    atoms = Atoms("H2CO", positions=[[0.0, 0.0, 0.0], [0.0, 0.0, 0.3], [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]])
    graph = graph_of([atoms])
    potential = potential_for(graph_of(ethanols(2))).eval()
    potential.prior = ZBL(reach_factor=0.7, power=6, numbers=small.NUMBERS)
    step = 1e-5 * torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    ahead, behind = (potential(graph.with_(positions=graph.positions + sign * step)).energy.detach() for sign in (1.0, -1.0))
    for one in (potential, Ensemble([potential])):
        forces = one(graph).forces
        assert not forces.requires_grad
        assert float(forces[0, 2]) == pytest.approx(float((behind - ahead) / 2e-5), rel=1e-6)
        assert float(forces[0, 2]) < -10.0  # eV/Å: it is repelled
