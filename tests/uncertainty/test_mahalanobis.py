"""Distances from what was trained on: those of the textbook, and large where features leave their habit of varying together."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from nnpx.uncertainty.mahalanobis import RIDGE, Mahalanobis
from nnpx.uncertainty.ranges import Ranges

WIDTH, N = 4, 400
GENERATOR = torch.Generator().manual_seed(3)
MIXED = torch.randn(WIDTH, WIDTH, dtype=torch.float64, generator=GENERATOR)
SPECIES = torch.randint(0, 2, (N,), generator=GENERATOR)
SIGNAL = torch.randn(N, WIDTH, dtype=torch.float64, generator=GENERATOR) @ MIXED + 5.0 * SPECIES[:, None]
KNOWN = Mahalanobis.of([(SIGNAL, SPECIES)], 3)


def test_it_is_the_distance_of_mahalanobis_per_direction():
    elsewhere = torch.linspace(-3.0, 8.0, 5, dtype=torch.float64)[:, None] * torch.ones(WIDTH)
    for element in (0, 1):
        own = SIGNAL[SPECIES.eq(element)].numpy()
        covariance = np.cov(own.T, bias=True)
        precision = np.linalg.inv(covariance + RIDGE * np.trace(covariance) / WIDTH * np.eye(WIDTH))
        expected = [mahalanobis(point, own.mean(0), precision) / np.sqrt(WIDTH) for point in elsewhere.numpy()]
        found = KNOWN.distance(elsewhere, torch.full((5,), element))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_what_is_like_training_is_at_a_distance_of_about_one():
    like = torch.randn(N, WIDTH, dtype=torch.float64, generator=GENERATOR) @ MIXED + 5.0 * SPECIES[:, None]
    assert KNOWN.distance(like, SPECIES).square().mean() == pytest.approx(1.0, abs=0.1)


def test_what_breaks_a_correlation_is_far_though_no_feature_leaves_its_range():
    along = torch.linspace(-1.0, 1.0, 200, dtype=torch.float64, requires_grad=False)[:, None]
    together = torch.cat((along, along + 0.01 * torch.sin(50.0 * along)), 1)
    one = torch.zeros(200, dtype=torch.long)
    broken, first = torch.tensor([[0.8, -0.8]], dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    assert Ranges.empty(1, 2).including(together, one).excess(broken, first, torch.ones(1, 2)).max() == 0
    mahalanobis = Mahalanobis.of([(together, one)], 1)
    assert mahalanobis.distance(broken, first) > 10 * mahalanobis.distance(together, one).max()


def test_pieces_add_up():
    pieces = [(SIGNAL[some], SPECIES[some]) for some in torch.arange(N).split(70)]
    torch.testing.assert_close(Mahalanobis.of(pieces, 3).precision, KNOWN.precision)


@pytest.mark.parametrize("n", [1, 3, 7, 100])
def test_of_an_element_without_environments_or_with_equal_ones_nothing_is_known(n):
    for row in SIGNAL[:20]:
        lonely = Mahalanobis.of([(row.expand(n, -1), torch.ones(n, dtype=torch.long))], 3)
        for element in (0, 1, 2):
            assert torch.isinf(lonely.distance(row + torch.tensor([[0.0], [1e-3]]), torch.full((2,), element))).all()
    assert torch.isinf(KNOWN.distance(SIGNAL[:1], torch.tensor([2]))).all()
    assert torch.isfinite(KNOWN.distance(SIGNAL, SPECIES)).all()
