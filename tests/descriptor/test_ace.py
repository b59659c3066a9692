"""The linear atomic cluster expansion: what a body order of five promises."""

import itertools

import pytest
import torch
from environments import parts_of

from nnpx.testing.descriptors import open_edges
from nnpx.testing.structures import cluster, to_tensor


@pytest.mark.parametrize(("n_neighbors", "is_zero"), [(4, False), (5, True), (6, True)])
def test_an_atomic_energy_has_terms_of_up_to_four_neighbors_and_no_more(n_neighbors, is_zero):
    """The part of E_0 that needs all n neighbours at once, Σ_S (−1)^|S| E_0(S) over the subsets S of them."""
    parts = parts_of(["experiment=linear_ace", "species_embedding=atomic_number"], [6])
    positions = to_tensor(cluster([6]).positions)
    energies = []
    for chosen in itertools.product([False, True], repeat=n_neighbors):
        places = positions[[0, *(k + 1 for k, there in enumerate(chosen) if there)]]
        weight = torch.ones(len(places), 1, dtype=torch.float64)
        geometry = parts.descriptor(open_edges(places, parts.cutoff_radius), weight)
        energy = parts.network(geometry[:1], weight[:1], torch.zeros(1, dtype=torch.long))
        energies.append((-1) ** sum(chosen) * energy.item())
    largest = max(abs(energy) for energy in energies)
    assert (abs(sum(energies)) < 1e-12 * 2**n_neighbors * largest) is is_zero
