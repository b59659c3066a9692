"""Pairs within a distance are those that ASE finds, wherever the parts of a structure are."""

import math
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list

from nnpx import cell_lists
from nnpx.cell_lists import pairs_in_cells
from nnpx.neighbor_search import pairs_within

#: Å
CUTOFF = 5.0


def found(atoms: Atoms, cutoff: float = CUTOFF, *, each_once: bool = False) -> set[tuple[int, ...]]:
    return as_set(*pairs_within(atoms, cutoff, each_once=each_once)[:3])


def by_ase(atoms: Atoms, cutoff: float) -> set[tuple[int, ...]]:
    completed = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.complete(), pbc=atoms.pbc)
    return as_set(*neighbor_list("ijS", completed, cutoff))


def as_set(i, j, shift) -> set[tuple[int, ...]]:
    return {(*pair, *image) for *pair, image in zip(i.tolist(), j.tolist(), shift.tolist(), strict=True)}


def with_ghost(atoms: Atoms, away) -> Atoms:
    """Two of them, one far away."""
    other = atoms.copy()
    other.translate(away)
    return atoms + other


def wire() -> Atoms:
    return Atoms("C6", [[0, 0, 1.3 * k] for k in range(6)], cell=[0, 0, 7.8], pbc=[False, False, True])


@pytest.mark.parametrize(
    "atoms", [molecule("CH3CH2OH"), bulk("Si"), fcc111("Cu", (2, 2, 3)), wire()], ids=["molecule", "crystal", "slab", "wire"]
)
def test_pairs_are_those_of_ase(atoms):
    atoms.rattle(0.05, seed=1)
    i, j, shift, distance = pairs_within(atoms, CUTOFF)
    expected = neighbor_list("ijSd", Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.complete(), pbc=atoms.pbc), CUTOFF)
    order, other = (np.lexsort((*np.asarray(s).T, b, a)) for a, b, s in ((i, j, shift), expected[:3]))
    for mine, theirs in zip((i, j, shift), expected[:3], strict=True):
        assert (mine[order] == theirs[other]).all()
    np.testing.assert_allclose(distance[order], expected[3][other], atol=1e-12)
    assert (np.diff(i) >= 0).all()
    assert len(pairs_within(atoms, CUTOFF, each_once=True)[0]) == len(i) // 2


@pytest.mark.parametrize("away", [(1e5, 1e5, 0.0), (0.0, -2500.0, 2500.0), (1e12, 0.0, 0.0), (6.0, 6.0, 1e5)], ids=str)
def test_a_fragment_that_flew_away_has_the_neighbours_that_it_has(away):
    """A search through all the space between two molecules that are 14 micrometres apart would not end, or divide by zero."""
    ethanol = molecule("CH3CH2OH")
    alone, n = found(ethanol), len(ethanol)
    assert found(with_ghost(ethanol, away)) == alone | {(i + n, j + n, *image) for i, j, *image in alone}


def test_each_pair_once_wherever_the_parts_are():
    ethanol = molecule("CH3CH2OH")
    n = len(ethanol)
    i, j, _, distance = pairs_within(with_ghost(ethanol, (1e5, 1e5, 0.0)), CUTOFF, each_once=True)
    assert len({frozenset(pair) for pair in zip(i.tolist(), j.tolist(), strict=True)}) == len(i) == n * (n - 1)
    assert sorted(distance[i < n]) == pytest.approx(sorted(distance[i >= n]), abs=1e-9)


def test_an_infinite_cutoff_asks_for_no_search():
    """A search with a reach of 10 µm would not end."""
    ethanol = molecule("CH3CH2OH")
    ethanol.positions[0, 0] += 1e5
    assert len(found(ethanol, math.inf)) == len(ethanol) * (len(ethanol) - 1)
    i, j, *_ = pairs_within(ethanol, math.inf, each_once=True)
    assert (i < j).all()
    assert len(i) == len(ethanol) * (len(ethanol) - 1) // 2


@pytest.mark.parametrize("atoms", [Atoms(), Atoms("H"), Atoms("H", [[1e6, 0, 0]])], ids=["none", "one", "one far away"])
@pytest.mark.parametrize("cutoff", [CUTOFF, math.inf])
def test_no_atom_and_one_have_no_pairs(atoms, cutoff):
    assert found(atoms, cutoff) == set()


def test_what_lies_between_far_atoms_keeps_its_neighbours():
    """Random clouds of atoms, some within the cutoff of each other and some not: a pair is never lost or made."""
    random = np.random.default_rng(0)
    for scale in (3.0, 8.0, 20.0, 100.0):
        atoms = Atoms("H40", random.normal(scale=scale, size=(40, 3)))
        apart = atoms.get_all_distances() + np.diag([np.inf] * 40)
        assert found(atoms) == {(int(i), int(j), 0, 0, 0) for i, j in np.argwhere(apart < CUTOFF)}


@pytest.mark.parametrize("atoms", [fcc111("Cu", (2, 2, 3)), wire()], ids=["slab", "wire"])
def test_an_atom_that_left_a_surface(atoms):
    """In the direction that is open, which need not be an axis."""
    atoms.rotate(40.0, (1, 2, 3), rotate_cell=True)
    normal = np.linalg.svd(atoms.cell.array[atoms.pbc])[2][-1]
    pairs = found(atoms)
    left = Atoms(atoms, positions=atoms.positions) + Atoms("H", [atoms.positions[0] + 1e6 * normal])
    assert found(left) == pairs | {(len(atoms), len(atoms), *image) for image in self_images(atoms)}


def self_images(atoms: Atoms) -> list[list[int]]:
    """Images of one atom within the cutoff."""
    lone = Atoms("H", cell=atoms.cell, pbc=atoms.pbc)
    return [image for _, _, *image in found(lone)]


@pytest.mark.parametrize("spacing", [6.0, 4.0])
@pytest.mark.parametrize("height", [None, 6.0, 2.0], ids=["open", "flat", "thin"])
def test_many_fragments_on_a_plane(spacing, height):
    heights = [height * n for n in range(-5, 6)] if height else [0.0]
    line = np.arange(1000)[:, None] * [spacing, spacing, 0.0]
    atoms = Atoms("H1000", line, cell=height and [1e5, 1e5, height], pbc=height is not None)
    apart = np.hypot(np.abs(np.subtract.outer(line[:, 0], line[:, 0]))[..., None] * 2**0.5, heights)
    for cutoff in (5.0, 9.0):
        np.testing.assert_allclose(np.sort(pairs_within(atoms, cutoff)[3]), np.sort(apart[(apart > 0.0) & (apart < cutoff)]))


@pytest.mark.parametrize("side", [30, 315])
def test_a_sheet_has_four_neighbors_at_every_atom(side):
    x, y = np.divmod(np.arange(side**2), side)
    sheet = Atoms(numbers=np.ones(len(x)), positions=5.0 * np.column_stack([x, y, 0 * x]))
    assert len(pairs_within(sheet, 5.1)[0]) == 4 * side * (side - 1)


@pytest.mark.parametrize("axis", [(1, 1, 1), (0, 1, 0.3)], ids=str)
@pytest.mark.parametrize("along", [0, 1])
def test_atoms_far_beside_a_wire_that_is_no_axis(axis, along):
    period = 5.0 * np.array(axis) / np.linalg.norm(axis)
    beside = np.linalg.svd(period[None])[2][1 + along]
    row = Atoms("H700", 4.99 * np.arange(700)[:, None] * beside, cell=[period, (0, 0, 0), (0, 0, 0)], pbc=(True, False, False))
    assert len(pairs_within(row, 5.001)[0]) == 2 * 700 + 2 * 699


@pytest.mark.parametrize(
    "atoms", [bulk("Si"), fcc111("Cu", (2, 2, 3)), wire(), molecule("CH3CH2OH")], ids=["crystal", "slab", "wire", "molecule"]
)
def test_where_space_is_mostly_empty_pairs_are_those_of_ase(atoms):
    """In cells that are larger than what they hold, atoms outside of them; and each pair once: its opposite is that of the other end."""
    atoms.rattle(0.05, seed=1)
    atoms.set_cell(atoms.cell.array * np.array([[9.0], [7.0], [5.0]]))
    atoms.translate((30.0, -50.0, 7.0))
    atoms += Atoms("HH", np.array([[0.0, 0.0, 4.9], [0.0, 0.1, 4.9]]) + atoms.positions[0])
    for cutoff in (1.0, 3.0, 6.0):
        assert found(atoms, cutoff) == by_ase(atoms, cutoff)
        once = found(atoms, cutoff, each_once=True)
        from_the_other_end = {(j, i, *(-step for step in image)) for i, j, *image in once}
        assert not once & from_the_other_end
        assert once | from_the_other_end == found(atoms, cutoff)
        assert (np.diff(pairs_within(atoms, cutoff)[0]) >= 0).all()


@pytest.mark.parametrize("pbc", [(True, True, False), (True, True, True)], ids=["slab", "cell"])
def test_an_atom_meets_its_own_images_in_mostly_empty_space(pbc):
    atoms = Atoms("H", [[-1.0, 4.0, 500.0]], cell=[[3.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 1e4]], pbc=pbc)
    assert found(atoms) == by_ase(Atoms("H", cell=[*atoms.cell[:2], (0.0, 0.0, 20.0)], pbc=pbc), CUTOFF)
    assert (0, 0, 1, -1, 0) in found(atoms)
    once = found(atoms, each_once=True)
    assert len(once) == len(found(atoms)) // 2
    assert found(atoms) == once | {(0, 0, *(-step for step in image)) for _, _, *image in once}


@pytest.mark.parametrize("pbc", [False, (True, True, False), True], ids=["open", "slab", "cell"])
def test_many_atoms_in_mostly_empty_space(pbc):
    random = np.random.default_rng(7)
    cell = np.array([[40.0, 0.0, 0.0], [9.0, 50.0, 0.0], [0.0, -7.0, 60.0]])
    atoms = Atoms("H150", random.uniform(-1.0, 2.0, size=(150, 3)) @ cell, cell=cell, pbc=pbc)
    assert found(atoms) == by_ase(atoms, CUTOFF)


@pytest.mark.parametrize("others", [[], [[0.0, 0.0, 300.0]]], ids=["alone", "beside another"])
@pytest.mark.parametrize("pbc", [False, True], ids=["open", "cell"])
def test_the_cutoff_itself_is_beyond_it(pbc, others):
    """Wherever they are, and whichever search finds them; a hair closer they are neighbours, across the boundary too."""
    for at in (0.0, 399.0):
        for apart, n_pairs in ((2.0, 0), (2.0 - 1e-6, 2), (2.0 + 1e-6, 0)):
            two = [[at, 1.0, 1.0], [at + apart, 1.0, 1.0]]
            atoms = Atoms(numbers=[1] * (2 + len(others)), positions=[*two, *others], cell=[400.0, 400.0, 400.0], pbc=pbc)
            assert len(pairs_within(atoms, 2.0)[0]) == n_pairs, (at, apart)


@pytest.mark.parametrize("vacuum", [100.0, 0.5], ids=["mostly empty", "full"])
def test_what_one_end_finds_the_other_finds(vacuum):
    """Neighbours in an ideal crystal are at the cutoff but for rounding, which must not make them neighbours in one direction only."""
    slab = fcc111("Cu", (3, 3, 4), a=3.61, vacuum=vacuum)
    slab.pbc = True
    slab.rotate(40.0, (1, 2, 3), rotate_cell=True)
    slab.translate((-7.0, 11.0, 0.3))
    for cutoff in (3.61 / 2**0.5, 3.61, 3.61 * 1.5**0.5):
        pairs = found(slab, cutoff)
        assert pairs == {(j, i, *(-step for step in image)) for i, j, *image in pairs}


@pytest.mark.parametrize("pbc", [True, (True, True, False), (False, True, False), False], ids=["cell", "slab", "wire", "open"])
def test_cells_have_the_pairs_that_ase_finds(pbc):
    """Skewed cells wider and narrower than the cutoff, atoms outside of them; each pair once is half of what both ends have."""
    random = np.random.default_rng(3)
    for n_atoms, cutoff in ((1, 6.0), (7, 2.0), (7, 9.0), (40, 3.0), (120, 1.5), (120, 2.5)):
        cell = np.diag(random.uniform(3.0, 9.0, 3)) + random.uniform(-1.5, 1.5, (3, 3))
        atoms = Atoms(numbers=np.ones(n_atoms), positions=random.uniform(-1.5, 2.5, (n_atoms, 3)) @ cell, cell=cell, pbc=pbc)
        expected, rows = by_ase(atoms, cutoff), Atoms(cell=cell * np.array(atoms.pbc)[:, None], pbc=pbc).cell.complete().array
        both, once = (pairs_in_cells(atoms.positions, rows, atoms.pbc, cutoff, each_once=one) for one in (False, True))
        assert as_set(*both[:3]) == expected
        assert len(both[0]) == len(expected) == 2 * len(once[0])
        assert (np.diff(both[0]) >= 0).all()
        vectors = atoms.positions[both[1]] + both[2] @ rows - atoms.positions[both[0]]
        np.testing.assert_allclose(both[3], np.linalg.norm(vectors, axis=1), atol=1e-12)
        assert as_set(*once[:3]) | {(j, i, *(-step for step in image)) for i, j, *image in as_set(*once[:3])} == expected


@pytest.mark.slow
def test_no_search_reaches_beyond_its_arrays(tmp_path):
    """Numba checks the bounds when it is told to."""
    code = """
import numpy as np
from nnpx import cell_lists
from nnpx.cell_lists import pairs_in_cells
random = np.random.default_rng(3)
clump = random.normal(scale=0.3, size=(90, 3))
for cutoff in (1.0, 2.0, 9.0):
    for periodic in ((True, True, True), (True, False, True), (False, False, False)):
        skewed = np.eye(3) + 0.9 * np.eye(3, k=1)
        for points, rows in ((clump, 9.0 * np.eye(3)), (clump[:1], np.diag([0.3, 0.5, 7.0])), (clump, skewed)):
            pairs_in_cells(points, rows, np.array(periodic), cutoff, each_once=True)
        positions = np.concatenate([random.uniform(-9.0, 18.0, (60, 3)), np.eye(3) * 3.0, np.zeros((1, 3)), -1e-17 * np.ones((1, 3))])
        assert len(pairs_in_cells(positions, 3.0 * np.eye(3), np.array(periodic), cutoff, each_once=False)[0]) > 0
"""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_vector_of_an_open_direction_may_lie_near_the_others():
    """It says nothing; a search along it would take a minute."""
    random = np.random.default_rng(2)
    atoms = Atoms(
        "H60", random.uniform(0.0, 10.0, (60, 3)), cell=[[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [10.0, 0.0, 1e-6]], pbc=(True, True, False)
    )
    assert found(atoms) == by_ase(Atoms(atoms.numbers, atoms.positions, cell=[10.0, 10.0, 0.0], pbc=atoms.pbc), CUTOFF)


@pytest.mark.parametrize("atoms", [bulk("Si"), bulk("Cu", cubic=True), fcc111("Cu", (2, 2, 3), vacuum=5.0)], ids=["Si2", "Cu4", "slab"])
def test_a_small_cell_is_searched_once(atoms, monkeypatch):
    rooms, search = [], cell_lists._search
    monkeypatch.setattr(cell_lists, "_search", lambda pairs, *others: rooms.append(len(pairs[0])) or search(pairs, *others))
    n_pairs = len(pairs_in_cells(atoms.positions, atoms.cell.complete().array, atoms.pbc, 6.0, each_once=False)[0])
    assert rooms[0] < 3 * n_pairs
    assert len(rooms) == 1 or not atoms.pbc.all()


def test_neighbors_closer_than_the_cutoff_by_rounding_are_found_across_cells():
    """Atoms at the walls of cells as wide as the cutoff: by rounding there may be a cell between two that are closer."""
    for cutoff, n, ulps_one, ulps_two in product((0.1, 0.7, 1.3), (3, 5, 7, 11, 29), range(-3, 3), range(-3, 3)):
        rows = np.diag([n * cutoff, 9.0, 9.0])
        for k in range(1, n - 1):
            one, two = (place + ulps * np.spacing(place) for place, ulps in ((k * cutoff, ulps_one), ((k + 1) * cutoff, ulps_two)))
            pair = np.array([[one, 0.0, 0.0], [two, 0.0, 0.0]])
            n_pairs = len(pairs_in_cells(pair, rows, np.array([True, False, False]), cutoff, each_once=True)[0])
            assert n_pairs == ((two - one) ** 2 < cutoff**2)


def test_a_clump_in_a_cell_has_more_pairs_than_a_homogeneous_structure():
    random = np.random.default_rng(5)
    atoms = Atoms("H300", random.normal(scale=1.5, size=(300, 3)), cell=[12.0, 13.0, 14.0], pbc=True)
    assert found(atoms, 4.0) == by_ase(atoms, 4.0)
    assert len(found(atoms, 4.0, each_once=True)) == len(found(atoms, 4.0)) // 2


@pytest.mark.parametrize("atoms", [molecule("H2O"), bulk("Si"), Atoms(cell=[5.0, 5.0, 5.0], pbc=True)], ids=["open", "crystal", "empty"])
def test_nothing_is_closer_than_nothing(atoms):
    assert found(atoms, 0.0) == set()
