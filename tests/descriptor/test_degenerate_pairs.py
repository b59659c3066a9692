"""Environments that pairs of neighbours cannot tell apart (Pozdnyakov et al. 2020, doi:10.1103/PhysRevLett.125.166001): triples do.

Four hydrogen atoms around a carbon atom, all at the same distance, at multiples of 45°. Between the places 0, 1, 3, 4 and between
0, 1, 2, 5 lie the same six angles, so that whatever sums over pairs of neighbours is the same; no rotation takes one to the other.
"""

import pytest
import torch

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.testing.descriptors import open_edges

PLACES = (0, 1, 3, 4), (0, 1, 2, 5)
BOND = 1.1  # Å


def features_of_carbon(places, *overrides):
    angle = torch.tensor(places, dtype=torch.float64) * torch.pi / 4
    around = BOND * torch.stack([angle.cos(), angle.sin(), torch.zeros(4)], dim=1)
    positions = torch.cat([torch.zeros(1, 3), around]).double()
    parts = build_parts(compose(list(overrides)), numbers=[1, 6], seed=0)
    species = torch.tensor([1, 0, 0, 0, 0])
    with torch.no_grad():
        return parts.descriptor(open_edges(positions, parts.cutoff_radius), parts.embedding(species))[0]


def change(*overrides):
    """Largest difference of a feature of the carbon atom, in units of the largest feature."""
    one, other = (features_of_carbon(places, *overrides) for places in PLACES)
    return float((one - other).abs().max() / one.abs().max())


@pytest.mark.parametrize(
    "overrides",
    [
        ("descriptor=acsf",),
        ("descriptor=acsf_wide",),
        ("descriptor=aev", "radial=ani_1x"),
        ("descriptor=soap",),
        ("descriptor=nep",),  # its triples are those of quadrupoles, which differ by a turn here
        ("descriptor=moments", "descriptor.max_body_order=3"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_pairs_of_neighbours_do_not_tell(overrides):
    assert change(*overrides) < 1e-12


@pytest.mark.parametrize(
    "overrides",
    [
        ("descriptor=moments", "descriptor.max_body_order=4"),
        ("descriptor=moments",),
        ("descriptor=ace",),
        ("descriptor=gaussian_moments",),
        ("descriptor=moments_messages",),
    ],
    ids=lambda overrides: overrides[-1],
)
def test_triples_do(overrides):
    assert change(*overrides) > 1e-3
