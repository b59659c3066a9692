"""Gaussian moments against contractions of full Cartesian tensors, written from Zaverkin & Kästner 2020."""

import math

import numpy as np
import pytest
from environments import acetamide, around, cosine, features_of, parts_of

NUMBERS, RADIUS, N = [1, 6, 7, 8], 5.0, 16
#: contraction 0 to 7 of the moments Ψ0, Ψ1, Ψ2, Ψ3
CONTRACTIONS = [
    "r->r",
    "ri,si->rs",
    "rij,sij->rs",
    "rijk,sijk->rs",
    "rij,sik,tjk->rst",
    "ri,sj,tij->rst",
    "rijk,sijl,tkl->rst",
    "rijk,sij,tk->rst",
]
RANKS = [(0,), (1, 1), (2, 2), (3, 3), (2, 2, 2), (1, 1, 2), (3, 3, 2), (3, 2, 1)]


@pytest.fixture(scope="module")
def parts():
    return parts_of(["experiment=gaussian_moments"], NUMBERS)


@pytest.mark.parametrize("atom", [0, 1, 8])
def test_contractions_are_those_of_the_full_tensors(parts, atom):
    atoms = acetamide()
    coefficients = parts.descriptor.coefficients.detach().numpy().reshape(4, N, 4, 5)[NUMBERS.index(atoms.numbers[atom])]
    moments = [np.zeros((5, *[3] * rank)) for rank in range(4)]
    for j in around(atoms, atom, RADIUS):
        waves = [math.sqrt(2 / RADIUS) * math.sin(k * math.pi * j.distance / RADIUS) / j.distance for k in range(1, N + 1)]
        tensor = waves @ coefficients[:, NUMBERS.index(j.number)] * cosine(j.distance, RADIUS) / math.sqrt(N)
        for rank in range(4):
            moments[rank] += tensor
            tensor = np.multiply.outer(tensor, j.vector / j.distance)
    found = dict(zip(parts.descriptor.names(), features_of(parts, atoms)[atom].tolist(), strict=True))
    expected = [np.einsum(rule, *(moments[rank] for rank in ranks)) for rule, ranks in zip(CONTRACTIONS, RANKS, strict=True)]
    for name, value in found.items():
        kind, _, densities = name.split()
        assert value == pytest.approx(expected[int(kind)][tuple(map(int, densities.split(",")))], rel=1e-10, abs=1e-13), name


def test_there_are_as_many_as_published(parts):
    """5 + 3·15 + 35 + 2·75 + 125."""
    assert parts.descriptor.n_features == 360
