"""Atomic environment vectors against loops written from Smith et al. 2017, with the published parameters of ANI-1x and ANI-2x.

tests/benchmarks/aev_torchani.py compares them with TorchANI itself.
"""

import itertools
import math

import pytest
import torch
from environments import Neighbor, acetamide, around, cosine, features_of, parts_of

from nnpx.cutoff.cosine import Cosine
from nnpx.descriptor.aev import AEV
from nnpx.errors import ConfigError
from nnpx.radial.gaussian_row import GaussianRow

NUMBERS = [1, 6, 7, 8]
#: R_cr, η_R, shifts; R_ca, η_A, ζ, shifts, angles, as the papers and TorchANI give them
ANI = {
    "ani_1x": (5.2, 16.0, [0.9 + 0.26875 * k for k in range(16)], 8.0, 32.0, [0.9, 1.55, 2.2, 2.85], 8),
    "ani_2x": (5.1, 19.7, [0.8 + 0.26875 * k for k in range(16)], 12.5, 14.1, [0.8 + 0.3375 * k for k in range(8)], 4),
}


def vector(near: list[Neighbor], model: str) -> list[float]:
    radius, eta_r, shifts_r, eta, zeta, shifts, n_angles = ANI[model]
    radial = [
        sum(0.25 * math.exp(-eta_r * (j.distance - s) ** 2) * cosine(j.distance, radius) for j in near if j.number == z)
        for z in NUMBERS
        for s in shifts_r
    ]
    angles = [math.pi / (2 * n_angles) + k * math.pi / n_angles for k in range(n_angles)]
    angular = [
        sum(summand(j, k, eta, zeta, s, angle) for j, k in itertools.combinations(near, 2) if {j.number, k.number} == pair)
        for pair in map(set, itertools.combinations_with_replacement(NUMBERS, 2))
        for s in shifts
        for angle in angles
    ]
    return radial + angular


def summand(j: Neighbor, k: Neighbor, eta: float, zeta: float, shift: float, angle: float) -> float:
    theta = math.acos(0.95 * float(j.vector @ k.vector) / (j.distance * k.distance))
    shell = math.exp(-eta * ((j.distance + k.distance) / 2 - shift) ** 2)
    return 2.0 * ((1.0 + math.cos(theta - angle)) / 2) ** zeta * shell * cosine(j.distance, 3.5) * cosine(k.distance, 3.5)


@pytest.mark.parametrize("model", ANI)
def test_components_equal_loops_over_neighbors(model):
    parts, atoms = parts_of([f"experiment={model}"], NUMBERS), acetamide()
    expected = [vector(around(atoms, atom, ANI[model][0]), model) for atom in range(3)]
    torch.testing.assert_close(features_of(parts, atoms)[:3], torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("model", "n_elements", "published"), [("ani_1x", 4, 384), ("ani_2x", 7, 1008)])
def test_vectors_have_their_published_length(model, n_elements, published):
    assert parts_of([f"experiment={model}"], [1, 6, 7, 8, 9, 16, 17][:n_elements]).descriptor.n_features == published


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"angular_radius": 6.0}, r"descriptor\.angular_radius: expected at most cutoff\.radius = 5\.2 Å, found 6\.0 Å"),
        ({"first_shell": 3.5}, r"descriptor\.first_shell: expected less than descriptor\.angular_radius = 3\.5 Å, found 3\.5 Å"),
    ],
)
def test_radii_that_contradict_each_other_are_refused(changed, message):
    numbers = {"angular_radius": 3.5, "eta": 8.0, "zeta": 32.0, "first_shell": 0.9, "n_shells": 4, "n_angles": 8, **changed}
    with pytest.raises(ConfigError, match=message):
        AEV(cutoff=Cosine(radius=5.2), radial=GaussianRow(n_functions=2, eta=16.0, first=0.9, spacing=0.3), n_channels=1, **numbers)
