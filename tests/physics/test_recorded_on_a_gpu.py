"""Molecules in dynamics on a GPU: what a CUDA graph repeats is what would have been computed."""

import gc

import numpy as np
import pytest
from every_option import case_of
from pretended_cuda_graph import gpu  # noqa: F401  # a fixture
from test_recorded import assert_equal, computed, torn

from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recordings

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize(("descriptor", "n_molecules"), [("acsf", 1), ("moments_messages", 3)])
def test_molecules_are_evaluated_from_a_graph_after_all_that_made_it_is_gone(descriptor: str, n_molecules: int) -> None:
    case = case_of("descriptor", descriptor)
    ensemble = Ensemble([case.potential]).requires_grad_(requires_grad=False)
    recordings, structures = Recordings(ensemble, after=0), [case.molecule.copy() for _ in range(n_molecules)]
    for seed in range(4):
        for k, atoms in enumerate(structures):
            atoms.rattle(0.05, seed=10 * seed + k)
        structures[0] = torn(structures[0]) if seed == 2 else structures[0]
        found = recordings.predict(structures, np.concatenate([atoms.positions for atoms in structures]), spread=True)
        gc.collect()
        assert_equal(found, computed(ensemble, structures))
