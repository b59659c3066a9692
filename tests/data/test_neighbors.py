"""A cutoff that would list more neighbours than memory holds is refused before any is listed."""

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from nnpx.errors import GeometryError
from nnpx.neighbors import graph_from_atoms


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
def test_an_open_structure_has_no_more_pairs_than_atoms_allow(atoms):
    assert len(graph(atoms, 1000.0).center) == len(atoms) * (len(atoms) - 1)


def test_the_estimate_is_right_for_a_crystal(monkeypatch):
    """Refused with just less memory than the pairs within 6 Å take, and let through with a little more."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)
    n_pairs = len(graph(atoms, 6.0).center)
    for factor, refused in ((0.8, True), (1.2, False)):
        monkeypatch.setattr("os.sysconf", lambda name, memory=int(150 * n_pairs * factor): 1 if name == "SC_PAGE_SIZE" else memory)
        if refused:
            with pytest.raises(GeometryError, match="neighbours that fit"):
                graph(atoms, 6.0)
        else:
            assert len(graph(atoms, 6.0).center) == n_pairs
