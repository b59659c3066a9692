"""Pairs of structures as they come: broken, half described, or in arrays of other kinds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from nnpx import cell_lists, neighbors
from nnpx.data import checks
from nnpx.errors import GeometryError, SpeciesError
from nnpx.neighbor_search import pairs_within, shortest_lattice_vector


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


#: an atom that has its own image beside it, found in one of the vectors, or only between two of them
CROWDED = {
    "a short vector": (np.diag([1e-3, 1e-3, 10.0]), [True] * 3, 0.001),
    "two vectors that are nearly alike": (np.array([[4.0, 0.0, 0.0], [4.0, 0.2, 0.0], [0.0, 0.0, 9.0]]), [True] * 3, 0.2),
    "a slab": (np.diag([3.0, 1e-2, 0.0]), [True, True, False], 0.01),
    "a wire": (np.diag([0.0, 0.0, 0.1]), [False, False, True], 0.1),
}


@pytest.mark.parametrize(("cell", "pbc", "distance"), CROWDED.values(), ids=CROWDED)
def test_an_atom_that_meets_its_own_image_is_refused_before_its_images_are_listed(cell, pbc, distance, monkeypatch):
    atoms = Atoms("Cu", cell=cell, pbc=pbc)
    assert shortest_lattice_vector(atoms) == pytest.approx(distance)
    for module in (neighbors, checks):
        monkeypatch.setattr(module, "pairs_within", lambda *words, **named: pytest.fail("pairs were listed"))
    found = f"expected atoms at least 0.3 Å apart, found every atom {distance:g} Å from its own image"
    with pytest.raises(GeometryError, match=f"the start: {found}"):
        neighbors.graph_from_atoms(atoms, numbers=[29], cutoff=4.0, where="the start")
    with pytest.raises(GeometryError, match=f"structure 0 of a.xyz: {found}.*data.minimum_distance"):
        checks.check_geometry([atoms], "a.xyz", minimum_distance=0.3)


def test_a_slanted_cell_whose_atoms_are_apart_is_no_mistake():
    """Its axes are far from the shortest vectors of its lattice."""
    slanted = bulk("Cu", "sc", a=2.5)
    slanted.set_cell(np.array([[1, 0, 0], [40, 1, 0], [7, 30, 1]]) @ slanted.cell.array)
    assert np.linalg.svd(slanted.cell.array, compute_uv=False)[-1] < 0.3
    graph = neighbors.graph_from_atoms(slanted, numbers=[29], cutoff=3.0, where="the start")
    assert len(graph.center) == 6


@pytest.mark.parametrize(("number", "called"), [(119, "Z = 119"), (-1, "Z = -1"), (0, "X")])
def test_an_atomic_number_of_no_element_is_named_and_not_taken_for_another(number, called):
    with pytest.raises(
        SpeciesError, match=rf"the start: expected atoms of elements, 1 \(H\) to 118 \(Og\), found .* \({called}\)\. Correct"
    ):
        neighbors.species_index(Atoms([8, number]), numbers=[1, 8, 118], where="the start")
