"""What is measured on the training set: widths of features, whatever their scale."""

import pytest
import torch
from small import NUMBERS, ethanols, graph_of

from nnpx.graph import AtomicGraph
from nnpx.potential import Scales
from nnpx.statistics import measure_scales


def described(features: torch.Tensor) -> AtomicGraph:
    """Ethanols with made-up features."""
    graph = graph_of(ethanols(len(features) // 9))
    return graph.with_(features=features)


def scales_of(graph: AtomicGraph, floor: float) -> Scales:
    return measure_scales(graph, numbers=NUMBERS, isolated_atoms={}, feature_floor=floor)


@pytest.fixture
def features(generator: torch.Generator) -> torch.Tensor:
    """Of widths 2 and 0.001."""
    return torch.randn(180, 2, generator=generator, dtype=torch.float64) * torch.tensor([2.0, 0.001], dtype=torch.float64)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_the_unit_of_a_descriptor_does_not_matter(features, unit):
    here, there = scales_of(described(features), 0.3), scales_of(described(unit * features), 0.3)
    torch.testing.assert_close(there.feature_std, unit * here.feature_std, rtol=1e-12, atol=0.0)


def test_what_hardly_varies_is_divided_by_a_fraction_of_the_typical_width(features):
    graph = described(features)
    scales = scales_of(graph, 0.3)
    present = graph.species.unique()
    free = scales_of(graph, 1e-9).feature_std[present]
    typical = free.square().mean().sqrt()
    assert 1.2 < typical < 1.6, "√((2² + 0.001²) / 2)"
    torch.testing.assert_close(scales.feature_std[present, 1], 0.3 * typical.expand(len(present)), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(scales.feature_std[present, 0], free[:, 0], rtol=1e-12, atol=0.0)


def test_features_that_never_vary_do_not_count(features):
    """Of pairs of elements that never meet, say: another element would lower the floor of all."""
    here = scales_of(described(features), 0.3)
    there = scales_of(described(torch.cat([features, torch.zeros(180, 3, dtype=torch.float64), features[:1, :1].expand(180, -1)], 1)), 0.3)
    torch.testing.assert_close(there.feature_std[:, :2], here.feature_std, rtol=1e-12, atol=0.0)


def test_an_element_without_atoms_is_divided_by_the_typical_width_and_does_not_count(features):
    graph = described(features)
    here, elsewhere = scales_of(graph, 0.3), measure_scales(graph, numbers=[*NUMBERS, 79], isolated_atoms={}, feature_floor=0.3)
    torch.testing.assert_close(elsewhere.feature_std[: len(NUMBERS)], here.feature_std, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(elsewhere.feature_std[-1], here.feature_std.min().expand(2) / 0.3, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_rounding_errors_are_not_blown_up(unit):
    equal = torch.full((9, 3), unit, dtype=torch.float64)
    rounded = equal + 1e-8 * unit * torch.tensor([[1.0], [-1.0], [0.0]], dtype=torch.float64).repeat(3, 1)
    for features in (equal, rounded):
        widths = scales_of(described(features), 0.3).feature_std
        torch.testing.assert_close(widths, torch.full((len(NUMBERS), 3), 0.3 * unit, dtype=torch.float64), rtol=1e-6, atol=0.0)


def test_what_a_shift_explains_does_not_widen_the_energies(features):
    """Without forces the scale is the spread of the energies around the mean energy of an atom."""
    graph = described(features)
    spread = torch.tensor([0.3, -0.3], dtype=torch.float64).repeat(10)
    bare = graph.with_(energy=5.0 * 9 + spread, forces=torch.full_like(graph.forces, torch.nan))
    scales = measure_scales(bare, numbers=NUMBERS, isolated_atoms=dict.fromkeys(NUMBERS, 0.0), feature_floor=0.1)
    assert scales.energy_shift == pytest.approx(5.0)
    assert scales.energy_scale == pytest.approx(0.1)
