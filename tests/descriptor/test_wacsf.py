"""Weighted symmetry functions against loops written from Gastegger et al. 2018 (doi:10.1063/1.5019667)."""

import itertools
import math

import pytest
import torch
from environments import Neighbor, acetamide, around, cosine, features_of, parts_of

RADIUS = 8.0
FUNCTIONS = list(itertools.product((0.0837, 0.1686, 0.5), (-1.0, 1.0)))


def g12(near: list[Neighbor], shift: float) -> float:
    return sum(j.number * math.exp(-((j.distance - shift) ** 2) / (2 * 0.28**2)) * cosine(j.distance, RADIUS) for j in near)


def g13(near: list[Neighbor], eta: float, lam: float) -> float:
    total = 0.0
    for j, k in itertools.combinations(near, 2):
        sides = (j.distance, k.distance, math.dist(j.vector, k.vector))
        shell = math.exp(-eta * sum(side**2 for side in sides)) * math.prod(cosine(side, RADIUS) for side in sides)
        total += j.number * k.number * (1.0 + lam * float(j.vector @ k.vector) / (j.distance * k.distance)) * shell
    return total


def test_weighted_functions_equal_loops_over_neighbors():
    parts, atoms = parts_of(["experiment=wacsf"], [1, 6, 7, 8]), acetamide()
    expected = []
    for atom in range(len(atoms)):
        near = around(atoms, atom, RADIUS)
        expected.append([*(g12(near, 0.5 + 0.28 * m) for m in range(26)), *(g13(near, eta, lam) for eta, lam in FUNCTIONS)])
    torch.testing.assert_close(features_of(parts, atoms), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("numbers", [[1], [1, 6, 7, 8, 9]])
def test_their_number_does_not_depend_on_that_of_the_elements(numbers):
    assert parts_of(["experiment=wacsf"], numbers).descriptor.n_features == 32
