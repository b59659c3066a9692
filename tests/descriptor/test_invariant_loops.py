"""The invariants in loops are those of torch's operations, and so are their derivatives, of second order too."""

import pytest
import torch
from torch import Tensor

from nnpx.cutoff.cosine import Cosine
from nnpx.derivatives import gradients_of
from nnpx.descriptor import invariant_loops as module
from nnpx.descriptor.invariants import BENDS, Invariants
from nnpx.descriptor.learned_density import LearnedDensity, contracted, contracted_back
from nnpx.descriptor.moments import Moments
from nnpx.radial.bessel import Bessel


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n_densities", [1, 5, module._COLUMNS // 3 + 1, module._COLUMNS + 3])
@pytest.mark.parametrize(("l_max", "max_body_order"), [(1, 2), (2, 3), (3, 4), (3, 5), (4, 5)])
def test_invariants_and_their_derivatives(l_max: int, max_body_order: int, n_densities: int) -> None:
    """Of several energies at once, of atoms that fill no group, and where one atom has more densities than a group columns."""
    invariants, moments = Invariants(l_max, max_body_order), random((l_max + 1) ** 2, 7, n_densities).requires_grad_()
    expected = invariants.as_matrices(moments)
    features, back = invariants.linearised(moments.detach())
    slopes = random(2, *expected.shape, seed=1)
    torch.testing.assert_close(features, expected.detach(), rtol=1e-12, atol=1e-12)
    gradients = torch.stack([torch.autograd.grad(expected, moments, slope, retain_graph=True)[0] for slope in slopes])
    torch.testing.assert_close(back(slopes), gradients, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("n_densities", [1, 5, module._COLUMNS // 3 + 1])
@pytest.mark.parametrize(("l_max", "max_body_order"), [(1, 2), (2, 3), (3, 5), (4, 5)])
def test_a_gradient_has_the_derivatives_of_products_of_matrices(l_max: int, max_body_order: int, n_densities: int) -> None:
    """What training asks for: how the gradient of several energies changes with their slopes and with the moments."""
    invariants, moments = Invariants(l_max, max_body_order), random((l_max + 1) ** 2, 7, n_densities).requires_grad_()
    shape = (2, 7, n_densities * len(invariants.kinds))
    slopes, displacement, along = random(*shape, seed=1).requires_grad_(), random(2, *moments.shape, seed=2), random(*shape[1:], seed=3)
    found = []
    for way in (invariants, invariants.as_matrices):
        features = way(moments)
        gradients = gradients_of(features, (moments,), slopes, create_graph=True)[0]
        loss = (gradients * displacement).sum() + (features * along).sum()
        found.append(torch.autograd.grad(loss, (slopes, moments)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-9)


def test_derivatives_are_differences() -> None:
    invariants, moments = Invariants(2, 5), random(9, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(invariants, (moments,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(invariants, (moments,))


def test_several_at_once_are_each_by_itself() -> None:
    """Several moments, and the gradients of several energies at each."""
    invariants, several, slopes = Invariants(2, 4), random(3, 9, 7, 5), random(3, 7, 5 * len(Invariants(2, 4).kinds), seed=1)

    def gradient(moments: Tensor, slope: Tensor) -> Tensor:
        return torch.func.vjp(invariants, moments)[1](slope)[0]

    torch.testing.assert_close(torch.vmap(invariants)(several), torch.stack([invariants(one) for one in several]))
    expected = [[gradient(one, slope) for slope in slopes] for one in several]
    found = torch.vmap(lambda one: torch.vmap(lambda slope: gradient(one, slope))(slopes))(several)
    torch.testing.assert_close(found, torch.stack([torch.stack(own) for own in expected]))
    torch.testing.assert_close(torch.vmap(gradient)(several, slopes), torch.stack([own[k] for k, own in enumerate(expected)]))


def test_what_has_no_derivative_is_not_taken_for_constant() -> None:
    moments = random(9, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(Invariants(2, 4)(moments).sum(), moments, create_graph=True)
    with pytest.raises(RuntimeError, match="gradients of invariants"):
        torch.autograd.grad(gradient.sum(), moments, create_graph=True)


def test_single_precision_stays_single() -> None:
    invariants, moments = Invariants(3, 5), random(16, 40, 16)
    features, back = invariants.linearised(moments.float())
    slopes = random(1, *features.shape, seed=1)
    assert features.dtype is back(slopes.float()).dtype is torch.float32
    exact, exactly_back = invariants.linearised(moments)
    torch.testing.assert_close(features.double(), exact, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(back(slopes.float()).double(), exactly_back(slopes), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("n_centers", [1, 3])
def test_what_is_learned_of_a_density_is_pulled_back_as_it_is_linear(n_centers: int) -> None:
    words = {"n_center_channels": n_centers, "n_neighbor_channels": 2, "n_shells": 3, "n_densities": 5, "l_max": 2}
    learned = LearnedDensity(**words, generator=torch.Generator().manual_seed(0)).double()
    density, of_center = random(9, 4, 6).requires_grad_(), random(4, n_centers, seed=1)
    gradient = random(2, 9, 4, 5, seed=2)
    coefficients = learned.by_component(n_centers)
    moments = contracted(density, coefficients, of_center)
    expected = torch.stack([torch.autograd.grad(moments, density, one, retain_graph=True)[0] for one in gradient])
    torch.testing.assert_close(contracted_back(gradient, coefficients, of_center), expected, rtol=1e-12, atol=1e-12)


def test_operations_say_the_shapes_of_what_they_give() -> None:
    """As recordings ask for them, which compute nothing."""
    invariants, moments = Invariants(2, 4), random(9, 7, 5)
    features, back = invariants.linearised(moments)
    slopes = random(3, *features.shape, seed=1)
    of_shapes, back_of_shapes = invariants.linearised(moments.to("meta"))
    assert of_shapes.shape == features.shape
    assert back_of_shapes(slopes.to("meta")).shape == back(slopes).shape
    given = (random(3, *moments.shape), slopes, moments)
    terms, n_coupled, _ = invariants._in_loops()
    for one, other in zip(BENDS(*given, terms, n_coupled), BENDS(*(one.to("meta") for one in given), terms, n_coupled), strict=True):
        assert one.shape == other.shape


def test_what_is_evaluated_leaves_nothing_to_differentiate() -> None:
    """Also where coefficients are being trained: a potential that is validated between two epochs."""
    radial, cutoff = Bessel(n_functions=4, smoothness=0.0, cutoff_radius=4.0), Cosine(radius=4.0)
    words = {"n_channels": 2, "n_densities": 3, "l_max": 2, "max_body_order": 4, "generator": torch.Generator().manual_seed(0)}
    descriptor = Moments(cutoff=cutoff, radial=radial, **words).double()
    chemistry, sums = torch.eye(2, dtype=torch.float64), (random(9, 2, 8),)
    features, back = descriptor.linearised_in(sums, chemistry)
    assert not features.requires_grad
    assert not back(torch.ones_like(features)[None])[0].requires_grad
