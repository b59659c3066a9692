"""Sums of products of rows, term by term: their value and their derivatives, of second order too."""

import pytest
import torch

from nnpx.descriptor import sums_of_products as module
from nnpx.descriptor.learned_density import Invariants
from nnpx.descriptor.sums_of_products import Terms, sums_of_own_products, sums_of_products, terms_of

#: more than are added at a time
COLUMNS = module._COLUMNS + 7


@pytest.fixture
def terms() -> Terms:
    """Seven terms of three sums, out of five rows and four."""
    generator = torch.Generator().manual_seed(1)
    place = torch.stack([torch.randint(n, (7,), generator=generator) for n in (3, 5, 4)])
    return Terms(place, torch.randn(7, generator=generator, dtype=torch.float64), (3, 5, 4))


@pytest.fixture
def own() -> Terms:
    """Of three sums out of five rows."""
    generator = torch.Generator().manual_seed(1)
    coupling = torch.randn(3, 6, generator=generator, dtype=torch.float64) * (torch.rand(3, 6, generator=generator) < 0.5)
    return terms_of(coupling, torch.randint(5, (2, 6), generator=generator), 5)


def rows(n: int, columns: int = 3, seed: int = 2) -> torch.Tensor:
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def as_tensor(terms: Terms) -> torch.Tensor:
    """The numbers that multiply L_i R_j in Z_k."""
    tensor = torch.zeros(terms.n_rows, dtype=torch.float64)
    return tensor.index_put(tuple(terms.place), terms.coefficient, accumulate=True)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-14), (torch.float32, 1e-5)])
def test_the_sums_are_those_of_all_products(terms, dtype, within):
    left, right = (rows(n, COLUMNS).detach() for n in (5, 4))
    found = sums_of_products(left.to(dtype), right.to(dtype), terms)
    assert found.dtype is dtype
    torch.testing.assert_close(found.double(), torch.einsum("kij,ix,jx->kx", as_tensor(terms), left, right), rtol=0, atol=within)


def test_a_coupling_says_which_terms_there_are(own):
    values = rows(5, COLUMNS).detach()
    expected = torch.einsum("kij,ix,jx->kx", as_tensor(own), values, values)
    torch.testing.assert_close(sums_of_own_products(values, own), expected, rtol=0, atol=1e-13)


def test_derivatives_of_first_and_second_order_are_differences(terms, own):
    assert torch.autograd.gradcheck(sums_of_products, (rows(5), rows(4), terms), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(sums_of_products, (rows(5), rows(4), terms))
    assert torch.autograd.gradcheck(sums_of_own_products, (rows(5), own), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(sums_of_own_products, (rows(5), own))


def test_several_at_once_are_each_by_itself(terms, own):
    left, right = torch.stack([rows(5, seed=k) for k in range(4)], 1), rows(4)
    together = torch.vmap(lambda one: sums_of_products(one, right, terms), in_dims=1)(left)
    torch.testing.assert_close(together, torch.stack([sums_of_products(one, right, terms) for one in left.unbind(1)]))
    together = torch.vmap(lambda one: sums_of_own_products(one, own), in_dims=1)(left)
    torch.testing.assert_close(together, torch.stack([sums_of_own_products(one, own) for one in left.unbind(1)]))


@pytest.mark.parametrize(("l_max", "max_body_order"), [(1, 3), (2, 4), (3, 5), (4, 5)])
def test_invariants_term_by_term_are_those_of_products_of_matrices(l_max, max_body_order):
    invariants, moments = Invariants(l_max, max_body_order), rows((l_max + 1) ** 2, COLUMNS)
    one, other = (way(moments) for way in (invariants.term_by_term, invariants.as_matrices))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    by_one, by_other = (torch.autograd.grad(values.square().sum(), moments)[0] for values in (one, other))
    torch.testing.assert_close(by_one, by_other, rtol=1e-11, atol=1e-11)
