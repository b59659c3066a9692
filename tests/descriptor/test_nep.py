"""The descriptor of NEP against loops written from Fan et al. 2021 and 2022."""

import itertools
import math

import numpy as np
import pytest
import torch
from environments import acetamide, around, cosine, features_of, parts_of
from numpy.polynomial import legendre

from nnpx.cutoff.cosine import Cosine
from nnpx.descriptor.nep import NEP
from nnpx.errors import ConfigError
from nnpx.radial.chebyshev import Chebyshev

NUMBERS = [1, 6, 7, 8]


def f(r: float, k: int, radius: float) -> float:
    """½ [T_k(2 (r/r_c − 1)² − 1) + 1] f_c(r)."""
    return 0.5 * (math.cos(k * math.acos(2.0 * (r / radius - 1.0) ** 2 - 1.0)) + 1.0) * cosine(r, radius)


@pytest.fixture(scope="module")
def case():
    parts, atoms = parts_of(["experiment=nep"], NUMBERS), acetamide()
    features = dict(zip(parts.descriptor.names(), features_of(parts, atoms)[1].tolist(), strict=True))
    c = parts.descriptor.coefficients.detach().numpy().reshape(4, 7, 4, 14)[NUMBERS.index(atoms.numbers[1])]
    return atoms, features, c


def functions(case, n, radius):
    """g_n of every neighbour within the radius, and the cosines between them."""
    atoms, _, c = case
    near = around(atoms, 1, radius)
    g = [sum(c[k, NUMBERS.index(j.number), n] * f(j.distance, k, radius) for k in range(7)) for j in near]
    unit = np.array([j.vector / j.distance for j in near])
    return np.array(g), unit @ unit.T


@pytest.mark.parametrize("n", [0, 6])
def test_radial_features_are_sums_over_neighbors(case, n):
    assert case[1][f"radial n={n}"] == pytest.approx(functions(case, n, 8.0)[0].sum(), rel=1e-11)


@pytest.mark.parametrize(("n", "order"), itertools.product([0, 6], [1, 2, 3, 4]))
def test_angular_features_are_sums_over_pairs_of_neighbors(case, n, order):
    g, angles = functions(case, 7 + n, 4.0)
    expected = g @ legendre.legval(angles, [0] * order + [1]) @ g
    assert case[1][f"angular n={n} l={order}"] == pytest.approx(expected, rel=1e-11)


def test_four_body_features_are_traces_of_three_quadrupoles(case):
    """tr Q³ of Q = Σ_j g_j (û û − 1/3), in the normalisation Σ G² = 1 of the coupling and Σ_m Y_2m² = 1 of the harmonics."""
    basis = np.array([b for b in traceless()])
    norm = np.sqrt((np.einsum("axy,byz,czx->abc", basis, basis, basis) ** 2).sum())
    found, expected = [], []
    for n in (0, 6):
        g, angles = functions(case, 7 + n, 4.0)
        c_jk, c_km, c_mj = angles[:, :, None], angles[None], angles[:, None]
        trace = c_jk * c_km * c_mj - (c_jk**2 + c_km**2 + c_mj**2) / 3 + 2 / 9
        expected.append(1.5**1.5 / norm * np.einsum("j,k,m,jkm", g, g, g, trace))
        found.append(case[1][f"angular n={n} 222"])
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-11)
    assert found[0] / found[1] == pytest.approx(expected[0] / expected[1], rel=1e-10)


def traceless():
    """An orthonormal basis of the symmetric matrices without trace."""
    for a, b in ((0, 1), (0, 2), (1, 2)):
        matrix = np.zeros((3, 3))
        matrix[a, b] = matrix[b, a] = math.sqrt(0.5)
        yield matrix
    yield np.diag([1.0, -1.0, 0.0]) / math.sqrt(2.0)
    yield np.diag([1.0, 1.0, -2.0]) / math.sqrt(6.0)


def test_an_angular_radius_beyond_the_cutoff_is_refused():
    with pytest.raises(ConfigError, match=r"descriptor\.angular_radius: expected at most cutoff\.radius = 3\.0 Å, found 4\.0 Å"):
        NEP(
            cutoff=Cosine(radius=3.0),
            radial=Chebyshev(n_functions=3, cutoff_radius=3.0),
            n_channels=1,
            angular_radius=4.0,
            n_radial=2,
            n_angular=2,
            l_max=2,
            generator=torch.Generator().manual_seed(0),
        )
