"""Messages: what an atom learns from its neighbours about theirs."""

import numpy as np
import pytest
import torch

from nnpx.cutoff.polynomial import Polynomial
from nnpx.descriptor.harmonics import block, harmonics
from nnpx.descriptor.moments_with_messages import MomentsWithMessages
from nnpx.radial.bessel import Bessel
from nnpx.testing.descriptors import open_edges
from nnpx.testing.structures import cluster, to_tensor

RADIUS = 4.0


@pytest.fixture
def descriptor():
    generator = torch.Generator().manual_seed(0)
    parts = {"cutoff": Polynomial(radius=RADIUS, power=6), "radial": Bessel(n_functions=3, smoothness=0.0, cutoff_radius=RADIUS)}
    sizes = {"n_channels": 2, "n_densities": 3, "n_messages": 10, "l_max": 2, "max_body_order": 4}
    return MomentsWithMessages(**parts, **sizes, generator=generator).double()


def chemistry(n_atoms):
    return torch.rand(n_atoms, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_second_densities_are_sums_over_neighbours_with_their_messages(descriptor):
    """A0 of messages, written out: Σ_j Σ_{c'kc} W e_i^{c'} φ_k(r_ij) f_c(r_ij) s_ij^c.

    s_ij = tanh(U arsinh(G_j) + V e_j + Y(r̂_ij)·M A_j)
    """
    positions = to_tensor(cluster([1]).positions)
    edges, species = open_edges(positions, RADIUS), chemistry(8)
    features, shells = descriptor(edges, species).detach(), descriptor.expansion(edges)
    first = features[:, : features.shape[1] // 2].numpy()
    u, v, m, w = (
        weight.detach().numpy()
        for weight in (descriptor.from_geometry, descriptor.from_chemistry, descriptor.from_moments, descriptor.second.coefficients)
    )
    moments = descriptor.first(shells, species, species[shells.pairs.neighbor]).detach().numpy()
    e, weights = species.numpy(), w.reshape(3, 2, 3, 10, 3)
    expected = np.zeros(3)
    for center, neighbor, vector, r in zip(edges.center.tolist(), edges.neighbor.tolist(), edges.vector, edges.distance, strict=True):
        if center == 2:
            angular = harmonics(vector[None] / r, 2)[0].numpy()
            directed = sum(angular[block(order)] @ moments[block(order), neighbor] @ m[order - 1] for order in (1, 2))
            message = np.tanh(np.arcsinh(first[neighbor]) @ u + e[neighbor] @ v + directed)
            radial = (descriptor.expansion.radial(r[None]) * descriptor.expansion.cutoff(r[None])[:, None])[0].numpy()
            expected += np.einsum("a,k,c,akcq->q", e[2], radial, message, weights[0])
    named = dict(zip(descriptor.names(), features[2].tolist(), strict=True))
    np.testing.assert_allclose([named[f"A0 of messages density {q}"] for q in range(3)], expected, rtol=1e-12)


def test_an_atom_is_told_at_which_angle_its_neighbour_sees_others(descriptor):
    """Three atoms around one, at 80°, 140° and 140° to each other, each of which sees the middle alone: the third is unlike the others."""
    angles = np.radians([0.0, 80.0, 220.0])
    around = 0.8 * RADIUS * np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], 1)
    features = descriptor(open_edges(to_tensor(np.vstack([np.zeros(3), around])), RADIUS), chemistry(1).expand(4, 2)).detach()
    n = features.shape[1] // 2
    one, other, third = features[1:]
    torch.testing.assert_close(one[:n], third[:n])
    torch.testing.assert_close(one, other)
    assert (one - third)[n:].abs().max() > 1e-3 * one[n:].abs().max()


@pytest.mark.parametrize(("spacing", "is_felt"), [(0.7, True), (1.05, False)])
def test_an_atom_feels_the_neighbour_of_its_neighbour(descriptor, spacing, is_felt):
    """The third atom of a chain is 1.4 cutoffs away from the first: it reaches it through the second, if there is a second within reach."""
    chain = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.2, 0.0], [2.0, 0.0, 0.1]], dtype=torch.float64) * spacing * RADIUS
    moved = chain.clone()
    moved[2, 1] += 0.3
    before, after = (descriptor(open_edges(positions, RADIUS), chemistry(3))[0] for positions in (chain, moved))
    assert torch.equal(before, after) is not is_felt
    n = len(before) // 2
    assert torch.equal(before[:n], after[:n])
