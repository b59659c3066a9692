"""Pairs of structures as they come: broken, half described, or in arrays of other kinds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from nnpx import cell_lists
from nnpx.errors import GeometryError
from nnpx.neighbor_search import pairs_within


def found(atoms: Atoms, cutoff: float) -> set[tuple[int, ...]]:
    """Pairs and images."""
    i, j, shift, _ = pairs_within(atoms, cutoff)
    return {(*pair, *image) for *pair, image in zip(i.tolist(), j.tolist(), shift.tolist(), strict=True)}


def wire() -> Atoms:
    """Periodic along one direction."""
    return Atoms("C6", [[0, 0, 1.3 * k] for k in range(6)], cell=[0, 0, 7.8], pbc=[False, False, True])


@pytest.mark.parametrize("atoms", [molecule("C6H6"), bulk("Si") * (2, 2, 2), fcc111("Cu", (2, 2, 3), vacuum=4.0), wire()])
@pytest.mark.parametrize("nowhere", [np.nan, np.inf])
def test_atoms_that_are_nowhere_are_refused_before_anything_is_sought(atoms, nowhere):
    elsewhere, endless = atoms.copy(), atoms.copy()
    elsewhere.positions[-1, 2] = nowhere
    endless.cell.array[-1, 2] = nowhere
    for broken in (elsewhere, endless):
        with pytest.raises(GeometryError, match="finite positions and cell"):
            pairs_within(broken, 1.5)


def test_a_molecule_whose_cell_was_forgotten_has_its_bonds():
    water = molecule("H2O")
    bonds = found(water, 1.2)
    water.pbc = True
    assert found(water, 1.2) == bonds
    assert len(bonds) == 4


def test_arrays_of_any_kind_are_read_by_the_same_loops():
    atoms = bulk("Si") * (2, 2, 2)
    expected = found(atoms, 5.0)
    for positions in (np.asfortranarray(atoms.positions), np.frombuffer(atoms.positions.tobytes()).reshape(-1, 3)):
        other = atoms.copy()
        other.arrays["positions"] = positions
        assert found(other, 5.0) == expected
    assert len(cell_lists._move._ready[np.dtype(float)].signatures) == 1  # compiled for one kind of array


def test_a_cell_without_volume_but_for_rounding_asks_for_no_memory():
    """Its inverse is not singular to the last bit, and huge."""
    water = molecule("H2O")
    bonds = found(water, 1.2)
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    water.set_cell(np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [5.0, 5.0, 0.0]]) @ turned)
    water.pbc = True
    assert bonds <= found(water, 1.2)
