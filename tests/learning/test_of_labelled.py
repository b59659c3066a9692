"""What the band of uncertainty is measured by."""

import numpy as np
import pytest
import torch
from small import ethanols, graph_of, potential_for

from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison
from nnpx.extrapolation import measure_mahalanobis, novelty
from nnpx.learning.uncertainty import distances, of_labelled


def test_of_each_structure_the_root_mean_square_over_its_own_atoms() -> None:
    """Structures of one, two and one atoms, of which the last has no label."""
    error, spread = np.array([0.1, 0.3, 0.4, np.nan]), np.array([0.0, 0.6, 0.8, 0.5])
    along_x, per_structure, per_atom, stress = np.eye(3)[0], np.zeros(3), np.zeros((4, 3)), np.zeros((3, 3, 3))
    compared = Comparison(
        numbers=np.ones(4, dtype=int),
        owner=np.array([0, 1, 1, 2]),
        groups=[""] * 3,
        energy_label=per_structure,
        energy=per_structure,
        energy_std=per_structure,
        forces_label=error[:, None] * along_x,
        forces=per_atom,
        forces_std=spread[:, None] * along_x,
        stress_label=stress,
        stress=stress,
        energy_noise=per_structure,
        forces_noise=per_atom,
        novelty={},
    )
    spreads, errors = of_labelled(compared)
    assert spreads == pytest.approx([0.0, 0.5**0.5, 0.5])
    assert errors == pytest.approx([0.1, 0.125**0.5, np.nan], nan_ok=True)


def test_an_atom_that_tells_nothing_does_not_hide_the_others() -> None:
    """Of the only oxygen of a training set nothing is known; the hydrogens are far from training all the same."""
    (known,), (stretched,) = ethanols(1), ethanols(1, displacement=0.4)
    potential = potential_for(graph_of([known])).eval()
    ensemble = Ensemble([potential], mahalanobis=measure_mahalanobis(Ensemble([potential]), [graph_of([known])]))
    atoms = novelty(ensemble, [graph_of([stretched])])["mahalanobis"]
    assert atoms.isinf().any()
    (found,) = distances(ensemble, [stretched])
    assert found == pytest.approx(float(atoms[torch.isfinite(atoms)].max()))
    assert found > 10.0 * distances(ensemble, [known])[0]
