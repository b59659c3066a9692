"""Messages: what an atom learns from its neighbours about theirs."""

import numpy as np
import pytest
import torch

from nnpx.cutoff.polynomial import Polynomial
from nnpx.descriptor.moments_with_messages import MomentsWithMessages
from nnpx.radial.bessel import Bessel
from nnpx.testing.descriptors import open_edges
from nnpx.testing.structures import cluster, to_tensor

RADIUS = 4.0


@pytest.fixture
def descriptor():
    generator = torch.Generator().manual_seed(0)
    parts = {"cutoff": Polynomial(radius=RADIUS, power=6), "radial": Bessel(n_functions=3, smoothness=0.0, cutoff_radius=RADIUS)}
    sizes = {"n_channels": 2, "n_densities": 3, "n_messages": 4, "l_max": 2, "max_body_order": 4}
    return MomentsWithMessages(**parts, **sizes, generator=generator).double()


def chemistry(n_atoms):
    return torch.rand(n_atoms, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_second_densities_are_sums_over_neighbours_with_their_messages(descriptor):
    """A0 of messages, written out: Σ_j Σ_{c'kc} W e_i^{c'} φ_k(r_ij) f_c(r_ij) s_j^c with s_j = tanh(U arsinh(G_j) + V e_j)."""
    positions = to_tensor(cluster([1]).positions)
    edges, species = open_edges(positions, RADIUS), chemistry(8)
    features = descriptor(edges, species).detach()
    first = features[:, : features.shape[1] // 2].numpy()
    u, v, w = (weight.detach().numpy() for weight in (descriptor.from_geometry, descriptor.from_chemistry, descriptor.second.coefficients))
    e, weights = species.numpy(), w.reshape(3, 2, 3, 4, 3)
    message = np.tanh(np.arcsinh(first) @ u + e @ v)
    expected = np.zeros(3)
    for center, neighbor, r in zip(edges.center.tolist(), edges.neighbor.tolist(), edges.distance, strict=True):
        if center == 2:
            shells = (descriptor.expansion.radial(r[None]) * descriptor.expansion.cutoff(r[None])[:, None])[0].numpy()
            expected += np.einsum("a,k,c,akcq->q", e[2], shells, message[neighbor], weights[0])
    named = dict(zip(descriptor.names(), features[2].tolist(), strict=True))
    np.testing.assert_allclose([named[f"A0 of messages density {q}"] for q in range(3)], expected, rtol=1e-12)


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
