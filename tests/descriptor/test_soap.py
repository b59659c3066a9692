"""The power spectrum against integrals and sums over pairs of neighbours, written from Bartók, Kondor & Csányi 2013.

tests/benchmarks/soap_dscribe.py compares it with DScribe.
"""

import math

import numpy as np
import pytest
import torch
from environments import acetamide, around, cosine, features_of, parts_of
from numpy.polynomial import legendre
from scipy.integrate import quad
from scipy.special import spherical_in

from nnpx.descriptor.smearing import Smeared
from nnpx.errors import ConfigError
from nnpx.radial import Radial
from nnpx.radial.bessel import Bessel
from nnpx.radial.gaussian import Gaussian

NUMBERS, RADIUS, WIDTH = [1, 6, 7, 8], 5.0, 0.5


def smeared(n: int, order: int, r: float) -> float:
    """∫ r'² R_n(r') e^{−(r²+r'²)/2σ²} i_l(r r'/σ²) dr', with the orthonormal waves of a sphere as R_n."""

    def integrand(x: float) -> float:
        wave = math.sqrt(2 / RADIUS) * math.sin((n + 1) * math.pi * x / RADIUS) * x
        return wave * math.exp(-(r * r + x * x) / (2 * WIDTH**2)) * float(spherical_in(order, r * x / WIDTH**2))

    return quad(integrand, 0.0, RADIUS, epsabs=1e-12, epsrel=1e-12, limit=200, points=[min(r, 4.9)])[0]


def test_components_are_sums_over_pairs_of_neighbors():
    """p = 4π √(2l+1) Σ_jk g_j g'_k P_l(cos θ_jk), by the addition theorem."""
    parts, atoms = (
        parts_of(["experiment=soap", "descriptor.n_densities=null", "descriptor.l_max=4", "radial.n_functions=4"], NUMBERS),
        acetamide(),
    )
    found = dict(zip(parts.descriptor.names(), features_of(parts, atoms)[1].tolist(), strict=True))
    near = around(atoms, 1, RADIUS)
    unit = np.array([j.vector / j.distance for j in near])
    for order, (n, z), (m, other) in [(0, (0, 0), (0, 0)), (1, (1, 0), (3, 1)), (4, (2, 0), (2, 3)), (3, (0, 1), (1, 0))]:
        g, h = (
            np.array([smeared(k, order, j.distance) * cosine(j.distance, RADIUS) * (j.number == NUMBERS[c]) for j in near])
            for k, c in ((n, z), (m, other))
        )
        expected = 4 * math.pi * math.sqrt(2 * order + 1) * g @ legendre.legval(unit @ unit.T, [0] * order + [1]) @ h
        assert found[f"l={order} densities {4 * n + z},{4 * m + other}"] == pytest.approx(expected, rel=1e-8), (order, n, m)


def test_compressed_components_are_those_of_mixed_coefficients():
    """Mixing the densities mixes both indices of the full spectrum."""
    small = ["experiment=soap", "descriptor.l_max=2", "radial.n_functions=2"]
    atoms, whole, few = acetamide(), *(parts_of([*small, f"descriptor.n_densities={q}"], NUMBERS) for q in ("null", "3"))
    full, mixing = features_of(whole, atoms)[4].reshape(3, -1), few.descriptor.mixing.detach()
    first, second = torch.triu_indices(8, 8)
    square = torch.zeros(3, 8, 8, dtype=torch.float64)
    square[:, first, second] = square[:, second, first] = full
    mixed = mixing.T @ square @ mixing
    torch.testing.assert_close(features_of(few, atoms)[4].reshape(3, -1), mixed[:, *torch.triu_indices(3, 3)], rtol=1e-10, atol=1e-12)


def test_radial_functions_that_overlap_are_made_orthonormal():
    """Gaussians and any mixture of them span the same space, so that Σ_n R̃_nl² is the same."""
    radial = Gaussian(recipe="gastegger_shifted", n_functions=5, r_min=0.8, cutoff_radius=RADIUS)
    plain = Smeared(radial=radial, l_max=2, width=WIDTH, radius=RADIUS)
    mixed = Smeared(radial=Mixed(radial), l_max=2, width=WIDTH, radius=RADIUS)
    r = torch.linspace(0.3, 4.9, 20, dtype=torch.float64)
    torch.testing.assert_close(plain(r).square().sum(-1), mixed(r).square().sum(-1), rtol=1e-9, atol=1e-12)


class Mixed(Radial):
    """Combinations of radial functions."""

    def __init__(self, radial):
        super().__init__()
        self.radial, self.n_functions = radial, radial.n_functions
        self.matrix = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + torch.eye(5)

    def forward(self, distance):
        return self.radial(distance) @ self.matrix

    def names(self):
        return self.radial.names()


def test_radial_functions_that_follow_from_each_other_are_refused():
    radial = Gaussian(recipe="imbalzano_centred", n_functions=24, r_min=0.8, cutoff_radius=RADIUS)
    with pytest.raises(ConfigError, match="radial: expected functions that do not follow from each other"):
        Smeared(radial=radial, l_max=1, width=WIDTH, radius=RADIUS)


def test_gaussians_too_narrow_for_the_radius_are_refused():
    with pytest.raises(ConfigError, match=r"descriptor\.width: expected .*, found 0\.001 Å in 5\.0 Å"):
        Smeared(radial=Bessel(n_functions=2, smoothness=0.0, cutoff_radius=RADIUS), l_max=1, width=0.001, radius=RADIUS)
