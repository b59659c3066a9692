"""Symmetry functions chosen one by one: the same numbers as those columns of the whole set, and nothing else evaluated."""

import pytest
import torch
from test_acsf import descriptor

from nnpx.descriptor.acsf import ACSF
from nnpx.descriptor.triplets import Corners
from nnpx.errors import ConfigError
from nnpx.testing.descriptors import DescriptorCase, open_edges
from nnpx.testing.structures import cluster, to_tensor

N_CHANNELS = 3


@pytest.fixture
def whole() -> ACSF:
    return descriptor("narrow", "shifted", N_CHANNELS)


@pytest.fixture
def edges():
    return open_edges(to_tensor(cluster([1]).positions), 5.0)


CHOICES = {
    "every seventh": lambda names: names[::7],
    "one radial": lambda names: names[5:6],
    "one angular": lambda names: names[-1:],
    "radial ones": lambda names: [name for name in names if name.startswith("G2")],
    "one pair of channels": lambda names: [name for name in names if name.endswith("0-2")],
    "one function of every pair": lambda names: [name for name in names if "lambda=-1 zeta=16" in name],
    "all": lambda names: names,
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("onehot", [True, False], ids=["onehot", "dense"])
def test_kept_functions_are_those_columns_of_the_whole_set(whole, edges, choice, onehot):
    """Features and their derivatives, whatever the order in which they are named."""
    chosen = CHOICES[choice](whole.names())
    part = descriptor("narrow", "shifted", N_CHANNELS, chosen[::-1])
    chemistry = DescriptorCase(whole, N_CHANNELS, 5.0).chemistry(edges.n_atoms)
    if onehot:
        chemistry = torch.eye(N_CHANNELS, dtype=torch.float64)[torch.arange(edges.n_atoms) % N_CHANNELS]
    columns = [whole.names().index(name) for name in chosen]
    assert part.names() == chosen
    assert part.n_features == len(chosen)
    torch.testing.assert_close(part(edges, chemistry), whole(edges, chemistry)[:, columns], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(part.jacobian(edges, chemistry), whole.jacobian(edges, chemistry)[:, :, columns], rtol=1e-13, atol=1e-13)


def test_what_no_kept_function_needs_is_not_evaluated(whole):
    kept = [name for name in whole.names() if "lambda=+1 zeta=1 " in name and name.endswith(("0-1", "1-1"))]
    part = descriptor("narrow", "shifted", N_CHANNELS, kept)
    pairs = list(zip(part.channel_p.tolist(), part.channel_q.tolist(), strict=True))
    assert pairs == [(0, 1), (1, 1)]
    assert (len(part.grid.lam), len(part.grid.eta)) == (1, len(whole.grid.eta))
    r = torch.tensor([1.0, 1.3], dtype=torch.float64)
    shells, cones = part.factors(Corners(r_ij=r, r_ik=r, scalar=0.2 * r, f_ij=r, f_ik=r))
    assert shells.shape[1] * cones.shape[1] == len(kept) // 2


def test_a_name_of_no_function_is_refused(whole):
    names = [*whole.names()[:3], "G2 gaussian eta=9.0000 shift=1.000 channel 0", "G4 nothing"]
    with pytest.raises(ConfigError, match=r"descriptor\.functions: expected .* found 'G2 gaussian eta=9\.0000 .*' and 1 more"):
        descriptor("narrow", "shifted", N_CHANNELS, names)


def test_functions_of_the_other_kind_are_refused(whole):
    with pytest.raises(ConfigError, match="found 'G4 eta="):
        descriptor("wide", "shifted", N_CHANNELS, whole.names()[-1:])


def test_functions_of_elements_that_are_absent_are_left_out(whole):
    part = descriptor("narrow", "shifted", 1, whole.names())
    assert part.names() == [name for name in whole.names() if name.endswith((" 0", " 0-0"))]
