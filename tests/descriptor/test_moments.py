"""Moments against scipy's spherical harmonics, the addition theorem, and sums over pairs and triples of neighbours."""

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from scipy.special import sph_harm_y

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.cutoff.polynomial import Polynomial
from nnpx.descriptor.harmonics import Harmonics, block, couplings, gaunt, harmonics
from nnpx.descriptor.moments import Moments
from nnpx.descriptor.products import Products
from nnpx.radial.bessel import Bessel
from nnpx.testing.descriptors import DescriptorCase, open_edges
from nnpx.testing.structures import cluster, random_rotation, to_tensor

L_MAX = 4


@pytest.fixture
def unit():
    vectors = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return vectors / vectors.norm(dim=1, keepdim=True)


def small(**changed):
    numbers = {"n_densities": 3, "l_max": 3, "max_body_order": 5, **changed}
    generator = torch.Generator().manual_seed(0)
    radius = 4.0
    parts = {"cutoff": Polynomial(radius=radius, power=6), "radial": Bessel(n_functions=3, smoothness=0.0, cutoff_radius=radius)}
    return Moments(**parts, n_channels=1, generator=generator, **numbers).double()


def test_harmonics_are_those_of_scipy(unit):
    """Up to the factor √(4π/(2l+1)) and the Condon–Shortley phase, which scipy includes."""
    x, y, z = unit.numpy().T
    theta, phi = np.arccos(z), np.arctan2(y, x)
    found = harmonics(unit, L_MAX).numpy()
    for order in range(L_MAX + 1):
        for m in range(-order, order + 1):
            complex_one = sph_harm_y(order, abs(m), theta, phi) * np.sqrt(4 * np.pi / (2 * order + 1))
            expected = complex_one.real if m == 0 else np.sqrt(2) * (-1) ** m * (complex_one.real if m > 0 else complex_one.imag)
            np.testing.assert_allclose(found[:, block(order)][:, m + order], expected, atol=1e-13)


@pytest.mark.parametrize(("l_max", "tolerance"), [(0, 0.0), (1, 1e-16), (3, 3e-15), (6, 3e-14), (12, 1e-11)])
def test_monomials_give_the_same_harmonics(unit, l_max, tolerance):
    torch.testing.assert_close(Harmonics(l_max)(unit), harmonics(unit, l_max), rtol=0, atol=tolerance)


def test_the_coefficients_of_harmonics_are_exact():
    """Y_2m over (x², xy, y², xz, yz): √3 xy, √3 yz, (3z² − 1)/2 = 1 − 3/2 (x² + y²), √3 xz, √3/2 (x² − y²)."""
    root = 3.0**0.5
    degree_2 = [[0, 0, -1.5, 0, root / 2], [root, 0, 0, 0, 0], [0, 0, -1.5, 0, -root / 2], [0, 0, 0, root, 0], [0, root, 0, 0, 0]]
    found = Harmonics(2).matrix[:, 4:]
    assert found[0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    torch.testing.assert_close(found[4:], torch.tensor(degree_2, dtype=torch.float64), rtol=2e-16, atol=0)


def test_harmonics_obey_the_addition_theorem(unit):
    """Σ_m Y_lm(u) Y_lm(v) = P_l(u·v)."""
    cosine = (unit @ unit.T).numpy()
    for order in range(L_MAX + 1):
        part = harmonics(unit, L_MAX)[:, block(order)]
        np.testing.assert_allclose((part @ part.T).numpy(), legendre.legval(cosine, [0] * order + [1]), atol=1e-13)


@pytest.mark.parametrize(("a", "b", "c"), couplings(L_MAX))
def test_a_coupling_of_three_rotated_harmonics_is_that_of_the_harmonics(unit, a, b, c):
    """Σ G Y_a(u) Y_b(v) Y_c(w) does not change when u, v, w turn or are mirrored together."""
    values = []
    for turned in (unit, unit @ to_tensor(random_rotation(3)).T, -unit @ to_tensor(random_rotation(4)).T):
        u, v, w = (harmonics(part, L_MAX).numpy() for part in (turned[:15], turned[15:30], turned[30:45]))
        values.append(np.einsum("ijk,pi,pj,pk->p", gaunt(a, b, c), u[:, block(a)], v[:, block(b)], w[:, block(c)]))
    assert np.abs(values[0]).max() > 0.01
    np.testing.assert_allclose(values[1], values[0], atol=1e-13)
    np.testing.assert_allclose(values[2], values[0], atol=1e-13)


@pytest.mark.parametrize(("a", "b", "c"), [(1, 1, 1), (1, 2, 2), (1, 1, 3)])
def test_what_parity_or_the_triangle_forbids_does_not_couple(a, b, c):
    assert not gaunt(a, b, c).any()


def test_features_are_sums_over_neighbours_pairs_and_triples_of_them():
    """ν = 2 is Σ_jk R_j R_k P_l(cos θ_jk); ν = 3 of (1, 1, 2) is proportional to Σ_jkn R_j R_k R_n (cos θ_jn cos θ_kn − cos θ_jk / 3)."""
    descriptor = small()
    positions = to_tensor(cluster([1]).positions)
    edges = open_edges(positions, 4.0)
    features = dict(zip(descriptor.names(), descriptor(edges, torch.ones(len(positions), 1).double())[2].tolist(), strict=True))
    own = (edges.center == 2).nonzero()[:, 0]
    unit = (edges.vector / edges.distance[:, None])[own].numpy()
    shells = (descriptor.expansion.radial(edges.distance) * descriptor.expansion.cutoff(edges.distance)[:, None])[own]
    cosine = unit @ unit.T
    for q in range(3):
        weight = [(shells @ descriptor.density.coefficients[order, :, q]).detach().numpy() for order in range(4)]
        assert features[f"A0 density {q}"] == pytest.approx(weight[0].sum(), rel=1e-12)
        for order in (1, 2, 3):
            expected = weight[order] @ legendre.legval(cosine, [0] * order + [1]) @ weight[order]
            assert features[f"A{order}·A{order} density {q}"] == pytest.approx(expected, rel=1e-11)
        expected = np.einsum("j,k,n,jn,kn->", weight[1], weight[1], weight[2], cosine, cosine) - weight[2].sum() / 3 * (
            weight[1] @ cosine @ weight[1]
        )
        # G couples x, y, z to the quadrupole with Σ G² = 1
        assert abs(features[f"(A1A1→2)·A2 density {q}"]) == pytest.approx(abs(expected) * np.sqrt(0.3), rel=1e-10)


@pytest.mark.parametrize(("max_body_order", "l_max", "count"), [(2, 3, 0), (3, 3, 3), (4, 3, 7), (5, 2, 5), (5, 3, 16)])
def test_only_invariants_that_say_something_new_are_kept(max_body_order, l_max, count):
    """For l ≤ 2: two squares, (112), (222), and (11→2)·(22→2); A1·A1 squared and its like follow from the squares."""
    assert len(Products(l_max, max_body_order).names) == count


def test_body_order_two_sees_distances_only():
    """Neighbours move on spheres around the atom: nothing changes; with angles it does."""
    line = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [-1.4, 0, 0]], dtype=torch.float64)
    bent = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [0.0, 1.4, 0]], dtype=torch.float64)
    for order, same in ((2, True), (3, False)):
        case = DescriptorCase(small(max_body_order=order), 1, 4.0)
        chemistry_free = [case.descriptor(open_edges(places, 4.0), torch.ones(3, 1).double())[0] for places in (line, bent)]
        assert torch.allclose(*chemistry_free, atol=1e-12) is same


@pytest.mark.parametrize(("pair", "onehot"), [((0, 1), True), ((2, 0), True), ((2, 2), True), ((0, 1), False)])
def test_with_one_channel_per_element_every_pair_of_elements_has_radial_functions_of_its_own(pair, onehot):
    """Coefficients of centre a and neighbour b act on the features of atoms a with a neighbour b alone; with dense vectors on all."""
    numbers = {"n_densities": 3, "l_max": 3, "max_body_order": 5}
    parts = {"cutoff": Polynomial(radius=4.0, power=6), "radial": Bessel(n_functions=3, smoothness=0.0, cutoff_radius=4.0)}
    descriptor = Moments(**parts, n_channels=3, generator=torch.Generator().manual_seed(0), **numbers).double()
    positions = to_tensor(cluster([1]).positions)
    edges, species = open_edges(positions, 4.0), torch.arange(len(positions)) % 3
    chemistry = torch.eye(3, dtype=torch.float64)[species] + (0.0 if onehot else 0.1)
    before = descriptor(edges, chemistry)
    with torch.no_grad():  # rows of the coefficients: channel of the centre, radial function, channel of the neighbour
        descriptor.density.coefficients.view(4, 3, 3, 3, 3)[:, pair[0], :, pair[1]] *= 2.0
    moved = (descriptor(edges, chemistry) - before).abs().amax(1) > 1e-9
    seen = torch.zeros(len(positions), dtype=torch.bool)
    seen[edges.center[(species[edges.center] == pair[0]) & (species[edges.neighbor] == pair[1])]] = True
    assert seen.any()
    assert not seen.all()
    assert torch.equal(moved, seen if onehot else torch.ones_like(seen))


def test_all_elements_have_as_many_features_as_two():
    """With learned vectors neither features nor coefficients grow with the number of elements; the 118th is as good as any."""
    chosen = compose(["descriptor=moments", "species_embedding=learned"])
    few, all_of_them = (build_parts(chosen, numbers=numbers, seed=0) for numbers in ([1, 6], list(range(1, 119))))
    assert all_of_them.descriptor.n_features == few.descriptor.n_features
    assert all_of_them.descriptor.density.coefficients.shape == few.descriptor.density.coefficients.shape
    edges = open_edges(to_tensor(cluster([1]).positions), 5.0)
    features = all_of_them.descriptor(edges, all_of_them.embedding(torch.arange(110, 118)))
    assert features.isfinite().all()
    assert (features.abs().sum(1) > 0).all()
