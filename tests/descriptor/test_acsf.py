"""Symmetry functions against loops written from the formulas of Behler 2011 (doi:10.1063/1.3553717)."""

import itertools
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from omegaconf import OmegaConf

from nnpx.config import conf_dir, instantiate
from nnpx.cutoff.cosine import Cosine
from nnpx.descriptor.acsf import ACSF
from nnpx.descriptor.angular import CentredGrid, PublishedList, Several, ShiftedGrid
from nnpx.errors import ConfigError
from nnpx.neighbors import graph_from_atoms
from nnpx.radial.gaussian import Gaussian
from nnpx.radial.gaussian_list import GaussianList
from nnpx.species_embedding.onehot import OneHot
from nnpx.units import bohr

RADIUS, ANGULAR_RADIUS = 5.0, 4.0
SETS = {
    "centred": CentredGrid(n_widths=3, zetas=[1.0, 2.0, 4.0], lambdas=[-1.0, 1.0]),
    "shifted": ShiftedGrid(r_min=0.8, n_shells=3, zetas=[1.0, 16.0], lambdas=[-1.0, 1.0]),
    "published": PublishedList(eta_per_bohr2=[0.0001, 0.003, 0.08], lambdas=[-1.0, 1.0, 1.0], zetas=[1.0, 2.0, 16.0]),
}


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=2)
    return atoms


def skewed_oxide() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * np.random.default_rng(1).normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def cosine(r: float, radius: float) -> float:
    return 0.5 * (math.cos(math.pi * r / radius) + 1.0) if r < radius else 0.0


Neighbor = tuple[int, np.ndarray, float]


def neighbors(atoms: Atoms, atom: int) -> list[Neighbor]:
    """Z_j, r_ij and its length for the neighbours of one atom, by ASE."""
    center, neighbor, vector, distance = neighbor_list("ijDd", atoms, RADIUS)
    own = np.flatnonzero(center == atom)
    return [(int(atoms.numbers[neighbor[k]]), vector[k], float(distance[k])) for k in own]


def g2(around: list[Neighbor], eta: float, shift: float, element: int) -> float:
    return sum(math.exp(-eta * (r - shift) ** 2) * cosine(r, RADIUS) for number, _, r in around if number == element)


def angular(around: list[Neighbor], kind: str, function: tuple[float, ...], elements: tuple[int, int]) -> float:
    eta, shift, lam, zeta = function
    total = 0.0
    near = [neighbor for neighbor in around if neighbor[2] < ANGULAR_RADIUS]
    for (z_j, r_ij, a), (z_k, r_ik, b) in itertools.combinations(near, 2):
        if sorted((z_j, z_k)) != sorted(elements):
            continue
        c = math.dist(r_ij, r_ik)
        cos_theta = (r_ij[0] * r_ik[0] + r_ij[1] * r_ik[1] + r_ij[2] * r_ik[2]) / (a * b)
        exponent = (a - shift) ** 2 + (b - shift) ** 2
        envelope = cosine(a, ANGULAR_RADIUS) * cosine(b, ANGULAR_RADIUS)
        if kind == "narrow":
            exponent += (c - shift) ** 2
            envelope *= cosine(c, ANGULAR_RADIUS)
        total += 2.0 ** (1.0 - zeta) * max(0.0, 1.0 + lam * cos_theta) ** zeta * math.exp(-eta * exponent) * envelope
    return total


def descriptor(kind: str, angular_set: str, n_channels: int, functions: list[str] | None = None) -> ACSF:
    radial = Gaussian(recipe="gastegger_shifted", n_functions=4, r_min=0.9, cutoff_radius=RADIUS)
    return ACSF(
        cutoff=Cosine(radius=RADIUS),
        radial=radial,
        n_channels=n_channels,
        angular_radius=ANGULAR_RADIUS,
        kind=kind,
        angular=SETS[angular_set],
        functions=functions,
    )


@pytest.mark.parametrize("atoms", [ethanol(), skewed_oxide()], ids=["ethanol", "skewed oxide"])
@pytest.mark.parametrize("angular_set", SETS)
@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_element_resolved_sums_equal_loops_over_neighbors(kind: str, angular_set: str, atoms: Atoms) -> None:
    numbers = sorted(set(atoms.numbers.tolist()))
    acsf, embedding = descriptor(kind, angular_set, len(numbers)), OneHot(numbers=numbers)
    graph = graph_from_atoms(atoms, numbers=numbers, cutoff=RADIUS, where="test")
    features = acsf(graph.edges(), embedding(graph.species))
    functions = sorted(zip(*(column.tolist() for column in SETS[angular_set].parameters(ANGULAR_RADIUS)), strict=True))
    expected = [
        [
            *[g2(around, eta, s, z) for z in numbers for eta, s in zip(*gaussians(acsf), strict=True)],
            *[angular(around, kind, f, pair) for pair in itertools.combinations_with_replacement(numbers, 2) for f in functions],
        ]
        for around in (neighbors(atoms, 0), neighbors(atoms, len(atoms) - 1))
    ]
    torch.testing.assert_close(features[[0, -1]], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def gaussians(acsf: ACSF) -> tuple[list[float], list[float]]:
    return acsf.radial.eta.tolist(), acsf.radial.shift.tolist()


def test_one_channel_of_atomic_numbers_is_wacsf() -> None:
    """Gastegger et al. 2018: neighbours weighted by Z_j, pairs of neighbours by Z_j Z_k."""
    atoms = ethanol()
    acsf = descriptor("wide", "centred", 1)
    graph = graph_from_atoms(atoms, numbers=[1, 6, 8], cutoff=RADIUS, where="test")
    weights = torch.tensor(atoms.numbers[:, None], dtype=torch.float64)
    features = acsf(graph.edges(), weights)[0]
    around, (eta, shift) = neighbors(atoms, 0), gaussians(acsf)
    radial = sum(z * g2(around, eta[1], shift[1], z) for z in (1, 6, 8))
    function = sorted(zip(*(column.tolist() for column in SETS["centred"].parameters(ANGULAR_RADIUS)), strict=True))[3]
    pairs = itertools.combinations_with_replacement((1, 6, 8), 2)
    three = sum(p * q * angular(around, "wide", function, (p, q)) for p, q in pairs)
    torch.testing.assert_close(features[[1, 4 + 3]], torch.tensor([radial, three], dtype=torch.float64), rtol=1e-12, atol=0.0)


def test_set51_has_eight_radial_and_forty_three_angular_functions_per_element() -> None:
    radial = instantiate(OmegaConf.load(conf_dir() / "radial" / "set51.yaml"))
    node = OmegaConf.load(conf_dir() / "descriptor" / "acsf_set51.yaml")
    acsf = instantiate(node, cutoff=Cosine(radius=6.0), radial=radial, n_channels=1)
    assert (radial.n_functions, acsf.n_features) == (8, 51)


def test_several_sets_are_their_union() -> None:
    one, other = SETS["centred"], SETS["shifted"]
    union = Several(sets=[one, other, one])
    together = {function for part in (one, other) for function in zip(*(column.tolist() for column in part.parameters(4.0)), strict=True)}
    radial = Gaussian(recipe="gastegger_shifted", n_functions=4, r_min=0.9, cutoff_radius=RADIUS)
    parts = {"cutoff": Cosine(radius=RADIUS), "radial": radial, "n_channels": 1, "functions": None}
    acsf = ACSF(**parts, angular_radius=4.0, kind="wide", angular=union)
    assert acsf.n_features == 4 + len(together)
    assert set(zip(*(column.tolist() for column in union.parameters(4.0)), strict=True)) == together


def test_widths_in_inverse_square_bohr_are_converted() -> None:
    radial = GaussianList(eta_per_bohr2=[0.4], shift_bohr=[2.0])
    one = float(radial(torch.tensor([3.0 * bohr], dtype=torch.float64)))
    assert one == pytest.approx(math.exp(-0.4), rel=1e-14)


def test_angular_radius_beyond_the_cutoff_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"descriptor\.angular_radius: expected at most cutoff\.radius = 3\.0 Å, found 4\.0 Å"):
        ACSF(
            cutoff=Cosine(radius=3.0),
            radial=GaussianList(eta_per_bohr2=[0.4], shift_bohr=[2.0]),
            n_channels=1,
            angular_radius=4.0,
            kind="wide",
            angular=SETS["centred"],
            functions=None,
        )
