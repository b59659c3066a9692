"""What the band of uncertainty is measured by."""

import numpy as np
import pytest

from nnpx.evaluation import Comparison
from nnpx.learning.uncertainty import of_labelled


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
