"""Labels that lie where nobody looks for them."""

import numpy as np
import pytest
from ase.build import molecule

from nnpx.data.finding import as_forces, chosen
from nnpx.errors import DataError


def test_forces_under_a_name_of_their_own_are_not_passed_over_in_silence() -> None:
    atoms = molecule("H2O")
    atoms.info["my_energy"], atoms.arrays["my_forces"] = -14.0, np.ones((3, 3))
    place, remarks = chosen([atoms], "forces", None, "own.extxyz")
    assert place is None
    assert remarks == ["forces is not read from arrays['my_forces']: data.keys.forces=my_forces would read it"]


def test_a_name_that_some_structures_lack_is_not_replaced_by_another_method_in_silence() -> None:
    structures = [molecule("H2O") for _ in range(3)]
    for atoms in structures:
        atoms.info.update(REF_energy=-14.0, energy=-13.0)
    del structures[1].info["REF_energy"]
    with pytest.raises(DataError, match=r"found it in 2, and info\['energy'\] in 3. Say which you mean, data.keys.energy=REF_energy or"):
        chosen(structures, "energy", None, "own.extxyz")
    assert chosen(structures, "energy", "REF_energy", "own.extxyz")[0].count == 2


def test_forces_in_rows_per_direction_are_refused() -> None:
    forces = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(as_forces(forces.ravel(), 4), forces)
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        as_forces(forces.T, 4)


def test_what_is_found_needs_no_remark() -> None:
    atoms = molecule("H2O")
    atoms.info["energy"], atoms.arrays["forces"], atoms.info["my_energy"] = -14.0, np.ones((3, 3)), -13.0
    assert [chosen([atoms], label, None, "file")[1] for label in ("energy", "forces", "stress")] == [[], [], []]
