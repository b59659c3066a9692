"""Structures become one graph; a cutoff that would list more neighbours than memory holds is refused before any is listed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from nnpx import neighbors
from nnpx.descriptor.density import reverse, slots
from nnpx.errors import DataError, GeometryError
from nnpx.graph import join
from nnpx.neighbors import graph_from_atoms, graph_from_list


def graph(atoms: Atoms, cutoff: float):
    return graph_from_atoms(atoms, numbers=sorted(set(atoms.numbers.tolist())), cutoff=cutoff, where="structure 0")


def test_a_cutoff_beyond_the_memory_is_refused_with_an_estimate():
    """Silicon has 0.05 atoms per Å³: 1.7e9 neighbours within 2,000 Å, for each of two atoms 150 bytes apiece."""
    with pytest.raises(GeometryError, match=r"about 3\.3e\+09 pairs within 2000 Å, which take 50\d GB\. Lower cutoff\.radius") as caught:
        graph(bulk("Si", "diamond", a=5.431), 2000.0)
    assert "structure 0" in str(caught.value)


def test_a_slab_counts_by_its_thickness():
    with pytest.raises(GeometryError, match=r"Lower cutoff\.radius"):
        graph(fcc111("Cu", (1, 1, 4), vacuum=10.0, periodic=False), 100000.0)


@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), molecule("CO2"), Atoms("H")], ids=["ethanol", "a line", "an atom"])
def test_an_open_structure_has_no_more_pairs_than_atoms_allow(atoms, monkeypatch):
    monkeypatch.setattr("nnpx.neighbors.FEW_ATOMS", 0)
    assert len(graph(atoms, 1000.0).center) == len(atoms) * (len(atoms) - 1)


def test_the_estimate_is_right_for_a_crystal(monkeypatch):
    """Refused with just less memory than the pairs within 6 Å take, and let through with a little more."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)
    n_pairs = len(graph(atoms, 6.0).center)
    monkeypatch.setattr(neighbors, "ALWAYS_THERE", 0.0)
    for factor, refused in ((0.8, True), (1.2, False)):
        monkeypatch.setattr(neighbors, "free_memory", lambda free=150 * n_pairs * factor: free)
        if refused:
            with pytest.raises(GeometryError, match="neighbours that fit"):
                graph(atoms, 6.0)
        else:
            assert len(graph(atoms, 6.0).center) == n_pairs


@pytest.mark.parametrize("atoms", [bulk("Cu", cubic=True), molecule("CH3CH2OH")], ids=["crystal", "molecule"])
def test_pairs_of_many_structures_have_to_fit_together_and_are_refused_before_one_is_listed(atoms, monkeypatch):
    """Each takes a third of what is free."""
    each = 150 * len(graph(atoms, 8.0).center)
    monkeypatch.setattr(neighbors, "ALWAYS_THERE", 0.0)
    monkeypatch.setattr(neighbors, "free_memory", lambda: 3 * each)
    rule = {"numbers": [1, 6, 8, 29], "cutoff": 8.0, "where": "own.xyz"}
    assert graph_from_list([atoms] * 2, **rule).n_structures == 2
    monkeypatch.setattr(neighbors, "pairs_within", lambda *words, **named: pytest.fail("pairs were listed"))
    with pytest.raises(
        GeometryError, match=r"structure 0 of own\.xyz and the 4 after it: expected neighbours .* Lower cutoff\.radius, or take fewer"
    ):
        graph_from_list([atoms] * 5, **rule)


def test_a_list_of_structures_is_the_graphs_of_each_put_together():
    labelled = bulk("Si", "diamond", a=5.431, cubic=True)
    labelled.calc = SinglePointCalculator(labelled, energy=-3.0, forces=np.arange(24.0).reshape(8, 3), stress=np.arange(6.0))
    structures = [molecule("CH3CH2OH"), Atoms("H"), labelled, fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=False)]
    structures[0].info["energy_noise"] = 0.25
    rule = {"numbers": [1, 6, 8, 14, 29], "cutoff": 4.0}
    together = graph_from_list(structures, **rule, where="test")
    apart = join([graph_from_atoms(atoms, **rule, where="test") for atoms in structures])
    for name, value in apart.to_dict().items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=0, equal_nan=True)
    assert together.energy.isnan().tolist() == [True, True, False, True]
    assert together.stress[2].tolist() == [[0.0, 5.0, 4.0], [5.0, 1.0, 3.0], [4.0, 3.0, 2.0]]
    assert together.energy_noise[0] == 0.25
    assert together.slot.tolist() == [place for n in torch.bincount(together.center, minlength=together.n_atoms) for place in range(n)]


def carried_off() -> Atoms:
    """Half of the atoms of a small cell have moved on by forty cells: images are counted from where they are."""
    atoms = bulk("NaCl", "rocksalt", a=4.2)
    atoms.positions[1] += 40 * atoms.cell.array.sum(0)
    return atoms


@pytest.mark.parametrize("n_atoms", [None, 2**24], ids=["as many atoms as there are", "so many that few bits are left for images"])
@pytest.mark.parametrize(
    "atoms",
    [molecule("CH3CH2OH"), bulk("Si", "diamond", a=5.431), bulk("Po", "sc", a=2.1), fcc111("Cu", (2, 1, 3), periodic=True), carried_off()],
    ids=["molecule", "two atoms", "an atom alone", "slab", "carried off"],
)
def test_every_pair_is_found_as_its_neighbour_sees_it(atoms, n_atoms):
    """Also where a pair has many images, and where some pairs are left out and slots filled up."""
    listed = graph(atoms, 6.0).edges()
    numbered = replace(listed, n_atoms=n_atoms or listed.n_atoms)
    for edges in (
        numbered,
        numbered.at(torch.randperm(len(listed.center))),
        numbered.within(4.0),
        replace(slots(listed, 5.0), n_atoms=numbered.n_atoms),
    ):
        seen = edges.at(reverse(edges))
        within = edges.distance < 5.0
        assert torch.equal(seen.center[within], edges.neighbor[within])
        assert torch.equal(seen.neighbor[within], edges.center[within])
        torch.testing.assert_close(seen.vector[within], -edges.vector[within], rtol=0, atol=1e-10)


def test_without_pairs_none_is_turned():
    assert len(reverse(graph(Atoms("H"), 6.0).edges())) == 0


def test_the_stress_of_what_is_no_crystal_is_no_label():
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=False)
    slab.calc = SinglePointCalculator(slab, stress=np.ones(6))
    assert bool(graph(slab, 4.0).stress.isnan().all())


@pytest.mark.parametrize("labels", [{"forces": np.zeros((2, 3))}, {"stress": np.zeros(9)}], ids=["forces", "stress"])
def test_labels_of_another_shape_are_refused(labels):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.results.update(labels)
    with pytest.raises(DataError, match=rf"structure 0.*expected {next(iter(labels))} of shape"):
        graph(atoms, 4.0)


def test_a_cell_whose_open_vector_lies_in_the_plane_of_the_others_is_told() -> None:
    slab = Atoms("Cu", cell=[[3.0, 0, 0], [0, 3.0, 0], [1.0, 1.0, 0]], pbc=[True, True, False])
    with pytest.raises(GeometryError, match=r"whose vectors lie in a plane\. Set the vectors of open directions to zero"):
        graph(slab, 4.0)
