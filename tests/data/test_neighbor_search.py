"""Pairs within a distance are those that ASE finds, wherever the parts of a structure are."""

import math
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list

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


def in_a_process(script: str) -> None:
    """The search for them ended Python with a floating point exception, or did not end."""
    heading = "import numpy as np; from ase import Atoms; from nnpx.neighbor_search import pairs_within\n"
    ended = subprocess.run([sys.executable, "-c", heading + script], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("spacing", [6.0, 4.0])
@pytest.mark.parametrize("height", [None, 6.0, 2.0], ids=["open", "flat", "thin"])
def test_many_fragments_on_a_plane(spacing, height):
    heights = [height * n for n in range(-5, 6)] if height else [0.0]
    in_a_process(f"""
line = np.arange(1000)[:, None] * [{spacing}, {spacing}, 0.0]
for cutoff in (5.0, 9.0):
    expected = np.hypot(np.abs(np.subtract.outer(line[:, 0], line[:, 0]))[..., None] * 2**0.5, {heights})
    found = pairs_within(Atoms("H1000", line, cell={height and [1e5, 1e5, height]}, pbc={height is not None}), cutoff)[3]
    np.testing.assert_allclose(np.sort(found), np.sort(expected[(expected > 0.0) & (expected < cutoff)]))
""")


@pytest.mark.parametrize("side", [300, 315, 330])
def test_a_sheet_about_as_large_as_can_be_divided(side):
    """A square lattice of atoms, each with four neighbours within the cutoff."""
    in_a_process(f"""
x, y = np.divmod(np.arange({side}**2), {side})
sheet = Atoms(numbers=np.ones(len(x)), positions=5.0 * np.column_stack([x, y, 0 * x]))
assert len(pairs_within(sheet, 5.1)[0]) == 4 * {side} * ({side} - 1)
""")


@pytest.mark.parametrize("axis", [(1, 1, 1), (0, 1, 0.3)], ids=str)
@pytest.mark.parametrize("along", [0, 1])
def test_atoms_far_beside_a_wire_that_is_no_axis(axis, along):
    in_a_process(f"""
period = 5.0 * np.array({axis}) / np.linalg.norm({axis})
beside = np.linalg.svd(period[None])[2][1 + {along}]
wire = Atoms("H700", 4.99 * np.arange(700)[:, None] * beside, cell=[period, (0, 0, 0), (0, 0, 0)], pbc=(True, False, False))
assert len(pairs_within(wire, 5.001)[0]) == 2 * 700 + 2 * 699
""")


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


def test_what_one_end_finds_the_other_finds():
    """Neighbours in an ideal crystal are at the cutoff but for rounding, which must not make them neighbours in one direction only."""
    slab = fcc111("Cu", (3, 3, 4), a=3.61, vacuum=100.0)
    slab.pbc = True
    for cutoff in (3.61 / 2**0.5, 3.61, 3.61 * 1.5**0.5):
        pairs = found(slab, cutoff)
        assert pairs == {(j, i, *(-step for step in image)) for i, j, *image in pairs}


@pytest.mark.parametrize("atoms", [molecule("H2O"), bulk("Si"), Atoms(cell=[5.0, 5.0, 5.0], pbc=True)], ids=["open", "crystal", "empty"])
def test_nothing_is_closer_than_nothing(atoms):
    assert found(atoms, 0.0) == set()
