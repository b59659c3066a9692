"""Cutoff functions at their published values."""

import math

import pytest
import torch

from nnpx.cutoff.bump import Bump
from nnpx.cutoff.cosine import Cosine
from nnpx.cutoff.polynomial import Polynomial
from nnpx.cutoff.tanh import Tanh
from nnpx.testing.nouns import derivatives

RADIUS = 6.0
EDGE = torch.tensor([RADIUS * (1.0 - 1e-9)], dtype=torch.float64)


def at(x: float) -> torch.Tensor:
    return torch.tensor([x * RADIUS], dtype=torch.float64)


@pytest.mark.parametrize(
    ("cutoff", "x", "value"),
    [
        (Cosine(radius=RADIUS), 0.0, 1.0),
        (Cosine(radius=RADIUS), 0.5, 0.5),
        (Cosine(radius=RADIUS), 1.0 / 3.0, 0.75),
        (Tanh(radius=RADIUS), 0.0, math.tanh(1.0) ** 3),
        (Tanh(radius=RADIUS), 0.5, math.tanh(0.5) ** 3),
        (Polynomial(radius=RADIUS, power=6), 0.0, 1.0),
        (Polynomial(radius=RADIUS, power=2), 0.5, 1.0 - 6.0 / 4.0 + 8.0 / 8.0 - 3.0 / 16.0),
        (Polynomial(radius=RADIUS, power=6), 0.5, 1.0 - 28.0 / 64.0 + 48.0 / 128.0 - 21.0 / 256.0),
        (Bump(radius=RADIUS), 0.0, 1.0),
        (Bump(radius=RADIUS), 0.5, math.exp(-1.0 / 3.0)),
    ],
)
def test_value_follows_the_formula(cutoff, x, value):
    assert float(cutoff(at(x))) == pytest.approx(value, rel=1e-14)


def test_curvature_of_the_cosine_jumps_at_the_radius():
    """f_c″ → ½ (π/r_c)² from inside: this is why forces from it have a kink."""
    value, slope, curvature = derivatives(Cosine(radius=RADIUS), EDGE, 2)
    assert float(value) == pytest.approx(0.0, abs=1e-15)
    assert float(slope) == pytest.approx(0.0, abs=1e-8)
    assert float(curvature) == pytest.approx(0.5 * (math.pi / RADIUS) ** 2, rel=1e-6)


@pytest.mark.parametrize(
    ("cutoff", "third"),
    [(Tanh(radius=RADIUS), -6.0 / RADIUS**3), (Polynomial(radius=RADIUS, power=6), -6.0 * 7.0 * 8.0 / RADIUS**3)],
)
def test_third_derivative_is_the_first_that_jumps(cutoff, third):
    value, slope, curvature, jerk = derivatives(cutoff, EDGE, 3)
    for vanishing in (value, slope, curvature):
        assert float(vanishing) == pytest.approx(0.0, abs=1e-7)
    assert float(jerk) == pytest.approx(third, rel=1e-6)


def test_no_derivative_of_the_bump_jumps():
    for derivative in derivatives(Bump(radius=RADIUS), EDGE, 6):
        assert float(derivative) == 0.0


def test_bump_is_finite_in_single_precision_up_to_the_radius():
    distance = torch.linspace(0.0, RADIUS, 10_001, dtype=torch.float32)[:-1]
    distance = torch.cat([distance, torch.nextafter(torch.tensor([RADIUS]), torch.tensor([0.0]))])
    for derivative in derivatives(Bump(radius=RADIUS), distance, 2):
        assert bool(derivative.isfinite().all())
