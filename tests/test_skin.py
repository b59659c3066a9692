"""Neighbour lists that last, against lists that are made anew for every structure."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from small import carbons, graph_of, potential_for

from nnpx import skin
from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, GeometryError, SpeciesError
from nnpx.neighbors import graph_from_atoms
from nnpx.skin import SkinList
from nnpx.structures import TOO_CLOSE

NUMBERS, CUTOFF, SKIN = [1, 6, 8], 4.0, 0.6


def crystal() -> Atoms:
    """Of few atoms, each of which has several images of another one as its neighbours."""
    return bulk("C", "fcc", a=3.3, cubic=True)


def slab() -> Atoms:
    """Open above and below, with slanted vectors along the plane."""
    atoms = bulk("C", "fcc", a=3.3, cubic=True) * (2, 2, 2)
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], scale_atoms=True)
    atoms.pbc = [True, True, False]
    return atoms


def chain() -> Atoms:
    """One atom, all of whose neighbours are its images."""
    return Atoms("C", cell=[1.5, 0.0, 0.0], pbc=[True, False, False])


def wires() -> Atoms:
    """Some rows in mostly empty space, where neighbours are found in another way than in crystals, in no order."""
    positions = [[0.0, 0.0, 0.0], [1.0, 1.5, 0.0], [0.3, 0.0, 1.6], [1.2, 1.5, 1.5]]
    return Atoms("C4", positions, cell=[2.1, 40.0, 40.0], pbc=True)


START = {"crystal": crystal, "slab": slab, "molecule": lambda: molecule("CH3CH2OH"), "chain": chain, "wires": wires}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of structures whose neighbours are searched, one after the other."""
    names: list[str] = []

    def search(*given: object, where: str, **settings: object) -> object:
        names.append(where)
        return graph_from_atoms(*given, where=where, **settings)

    monkeypatch.setattr(skin, "graph_from_atoms", search)
    return names


def pairs(kept: SkinList, *structures: Atoms) -> tuple[np.ndarray, ...]:
    """i, j, S and vector as the list has them."""
    named = {f"structure {k}": atoms for k, atoms in enumerate(structures)}
    graph, edges = kept.graph(named, np.concatenate([atoms.positions for atoms in structures]))
    assert torch.equal(graph.center, edges.center)
    assert torch.equal(graph.slot, edges.slot)
    assert graph.edge_start.tolist() == [0, *np.searchsorted(edges.center, graph.atom_start[1:]).tolist()]
    return tuple(one.numpy() for one in (edges.center, edges.neighbor, edges.shift, edges.vector, edges.distance))


def new(skin_width: float = SKIN) -> SkinList:
    return SkinList(numbers=NUMBERS, cutoff=CUTOFF, skin=skin_width)


@pytest.mark.parametrize("start", START.values(), ids=START)
@pytest.mark.parametrize("is_strained", [False, True])
def test_a_list_that_lasts_is_that_of_a_new_one(start: Callable[[], Atoms], is_strained: bool, made: list[str]) -> None:
    """To the last bit and in the same order, along a walk through many lists; cells that are strained too."""
    random, atoms, kept = np.random.default_rng(0), start(), new()
    sets, n_steps = set(), 60
    for _ in range(n_steps):
        atoms.positions += random.normal(scale=0.03, size=atoms.positions.shape)
        if is_strained:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + random.normal(scale=0.003, size=(3, 3))), scale_atoms=True)
        lasting = pairs(kept, atoms)
        for one, other in zip(lasting, pairs(new(0.0), atoms), strict=True):
            np.testing.assert_array_equal(one, other)
        fresh = graph_from_atoms(atoms, numbers=NUMBERS, cutoff=CUTOFF, where="test")
        assert sorted(map(tuple, np.column_stack(lasting[:3]))) == sorted(
            map(tuple, np.column_stack([fresh.center, fresh.neighbor, fresh.shift]))
        )
        sets.add(lasting[0].tobytes() + lasting[1].tobytes())
    n_lists = len(made) - n_steps  # the others were made to compare with
    assert len(sets) > 1 or len(atoms) < 10  # pairs came and went
    assert 1 < n_lists < n_steps // 2


def test_a_strain_alone_makes_no_list_until_it_uses_up_the_skin(made: list[str]) -> None:
    """By 13 % a sphere of 4.6 Å has shrunk to 4 Å; atoms that move with the cell have not moved."""
    atoms, kept = crystal(), new()
    rest = atoms.cell.array.copy()
    for part in (1.0, 0.95, 1.2, 0.875):
        atoms.set_cell(rest * part, scale_atoms=True)
        pairs(kept, atoms)
    assert len(made) == 1
    atoms.set_cell(rest * 0.868, scale_atoms=True)
    pairs(kept, atoms)
    assert len(made) == 2


def test_a_graph_has_the_cell_and_volume_of_today() -> None:
    atoms, kept = crystal(), new()
    pairs(kept, atoms)
    atoms.set_cell(atoms.cell.array * [1.01, 0.99, 1.02], scale_atoms=True)
    graph, edges = kept.graph({"structure 0": atoms}, atoms.positions)
    fresh = graph_from_atoms(atoms, numbers=NUMBERS, cutoff=CUTOFF, where="test")
    assert torch.equal(graph.cell, fresh.cell)
    assert torch.equal(graph.volume, fresh.volume)
    torch.testing.assert_close(graph.edges().vector, edges.vector, rtol=0, atol=1e-14)


def test_several_structures_come_and_go(made: list[str]) -> None:
    """Each has its own list; who is missing in a call is forgotten."""
    atoms, kept = [molecule("CH3CH2OH"), crystal()], new()
    pairs(kept, *atoms)
    atoms[1].positions[0] += [0.4, 0.0, 0.0]
    both = pairs(kept, *atoms)
    assert made == ["structure 0", "structure 1", "structure 1"]
    for one, other in zip(both, pairs(new(), *atoms), strict=True):
        np.testing.assert_array_equal(one, other)
    pairs(kept, atoms[0])
    pairs(kept, *atoms)
    assert made[-1] == "structure 1"
    assert len(made) == 6


@pytest.mark.parametrize("change", ["order of the elements", "periodicity", "number"])
def test_another_structure_of_the_same_name_has_its_own_list(change: str) -> None:
    atoms, kept = slab(), new()
    atoms.numbers[:4] = 8
    pairs(kept, atoms)
    if change == "order of the elements":
        atoms.numbers = atoms.numbers[::-1]
    elif change == "periodicity":
        atoms.pbc = [True, False, False]
    else:
        atoms = atoms[:-1]
    graph, _ = kept.graph({"structure 0": atoms}, atoms.positions)
    fresh = graph_from_atoms(atoms, numbers=NUMBERS, cutoff=CUTOFF, where="test")
    assert torch.equal(graph.species, fresh.species)
    assert len(graph.center) == len(fresh.center)


@pytest.mark.parametrize("found", [np.nan, np.inf])
def test_a_position_that_is_no_number_is_refused_at_once(found: float) -> None:
    atoms, kept = crystal(), new()
    pairs(kept, atoms)
    atoms.positions[1, 2] = found
    with pytest.raises(GeometryError, match=r"structure 0.*finite positions"):
        pairs(kept, atoms)


def test_atoms_that_come_too_close_within_the_skin_are_refused_at_once() -> None:
    atoms, kept = Atoms("CC", [[0, 0, 0], [0, 0, 0.4]]), new()
    pairs(kept, molecule("CH4"), atoms)
    atoms.positions[1, 2] = TOO_CLOSE - 0.01
    with pytest.raises(GeometryError, match=r"structure 1.*atoms 0 \(C\) and 1 \(C\) 0.290 Å apart"):
        pairs(kept, molecule("CH4"), atoms)


def test_a_cell_that_turns_left_handed_is_refused() -> None:
    atoms, kept = crystal(), new()
    pairs(kept, atoms)
    atoms.cell[0] *= -1.0
    with pytest.raises(GeometryError, match="right-handed"):
        pairs(kept, atoms)


def test_an_element_that_is_new_is_named() -> None:
    atoms, kept = crystal(), new()
    pairs(kept, atoms)
    atoms.numbers[0] = 14
    with pytest.raises(SpeciesError, match="Si"):
        pairs(kept, atoms)


def test_in_single_precision_vectors_are_rounded_once() -> None:
    """Far from the origin single positions would know vectors to some 1e-5 Å only."""
    atoms = crystal()
    atoms.positions += 100.0
    kept = SkinList(numbers=NUMBERS, cutoff=CUTOFF, skin=SKIN, dtype=torch.float32)
    graph, edges = kept.graph({"crystal": atoms}, atoms.positions)
    double = pairs(new(), atoms)
    assert graph.positions.dtype is graph.shift.dtype is edges.vector.dtype is edges.distance.dtype is torch.float32
    np.testing.assert_array_equal(edges.vector.numpy(), double[3].astype(np.float32))
    np.testing.assert_array_equal(edges.distance.numpy(), double[4].astype(np.float32))


def test_the_many_images_of_one_atom_are_sorted() -> None:
    """Thousands, which the search gives in the order of what is to be turned around."""
    atoms, kept = Atoms("C", cell=[2.3, 2.4, 2.5], pbc=True), SkinList(numbers=NUMBERS, cutoff=30.0, skin=0.5)
    shift = pairs(kept, atoms)[2]
    assert len(shift) > 5000
    np.testing.assert_array_equal(shift, shift[np.lexsort(shift.T[::-1])])


@pytest.mark.parametrize("found", [-0.5, np.nan, np.inf])
def test_a_skin_that_is_no_length_is_refused(found: float) -> None:
    ensemble = Ensemble([potential_for(graph_of(carbons(3)))])
    with pytest.raises(ConfigError, match="skin: expected a length of at least 0 Å"):
        Calculator(ensemble, skin=found)


def test_neighbours_as_far_as_the_cutoff_are_the_same_with_every_skin() -> None:
    """Rounding decides which of them are within it, and has to decide once."""
    atoms = bulk("C", "fcc", a=CUTOFF, cubic=True) * (3, 3, 2)
    atoms.positions += [0.37, 0.123, 0.053]
    expected = pairs(new(0.0), atoms)
    for width in (1e-9, 0.5):
        for one, other in zip(pairs(new(width), atoms), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_copy_makes_its_own_lists(made: list[str]) -> None:
    kept, atoms = new(), crystal()
    pairs(kept, atoms)
    for copied in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        before = len(made)
        for one, other in zip(pairs(copied, atoms), pairs(kept, atoms), strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(made) == before + 1


def test_elsewhere_vectors_are_those_that_were_found_here() -> None:
    """A device whose name is another one; that of this processor has one name only, but for its number."""
    atoms, elsewhere = crystal(), torch.device("cpu", 0)
    atoms.positions += 100.0
    words = {"numbers": NUMBERS, "cutoff": CUTOFF, "skin": SKIN, "dtype": torch.float32}
    (_, here), (graph, there) = (SkinList(**words, device=place).graph({"one": atoms}, atoms.positions) for place in (skin._CPU, elsewhere))
    assert torch.equal(here.vector, there.vector)
    assert there.center is graph.center


@pytest.mark.parametrize("is_strained", [False, True])
def test_the_skin_of_a_calculator_changes_no_bit(is_strained: bool, made: list[str]) -> None:
    """Of the calculator that remembers, and of one that has just been made."""
    ensemble = Ensemble([potential_for(graph_of(carbons(3)))])
    random, atoms, calculator = np.random.default_rng(1), crystal() * (2, 2, 1), Calculator(ensemble)
    for _ in range(12):
        atoms.positions += random.normal(scale=0.02, size=atoms.positions.shape)
        if is_strained:
            atoms.set_cell(atoms.cell.array * (1.0 + random.normal(scale=0.002)), scale_atoms=True)
        before = len(made)
        results = [one.get_property(name, atoms) for one in (calculator, Calculator(ensemble)) for name in ("energy", "forces", "stress")]
        for one, other in zip(results[:3], results[3:], strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(made) == before + 1  # only the new calculator searched
