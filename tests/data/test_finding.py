"""Labels that lie where nobody looks for them."""

import numpy as np
from ase.build import molecule

from nnpx.data.finding import chosen


def test_forces_under_a_name_of_their_own_are_not_passed_over_in_silence() -> None:
    atoms = molecule("H2O")
    atoms.info["my_energy"], atoms.arrays["my_forces"] = -14.0, np.ones((3, 3))
    place, remarks = chosen([atoms], "forces", None, "own.extxyz")
    assert place is None
    assert remarks == ["forces is not read from arrays['my_forces']: data.keys.forces=my_forces would read it"]


def test_what_is_found_needs_no_remark() -> None:
    atoms = molecule("H2O")
    atoms.info["energy"], atoms.arrays["forces"], atoms.info["my_energy"] = -14.0, np.ones((3, 3)), -13.0
    assert [chosen([atoms], label, None, "file")[1] for label in ("energy", "forces", "stress")] == [[], [], []]
