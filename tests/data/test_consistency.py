"""Labels that contradict each other, or what a file says of them, are told or refused."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from nnpx.data import frames
from nnpx.data.checks import check_geometry, check_labels
from nnpx.data.consistency import borrowed, contradictions, not_the_slope
from nnpx.data.duplicates import find_duplicates
from nnpx.data.files import open_structures
from nnpx.data.frames import attach, labels
from nnpx.data.reader import read, read_all
from nnpx.errors import DataError, GeometryError, SpeciesError
from nnpx.reference.ase import ASE
from nnpx.reference.xtb import XTB


def emt(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    return attach(atoms, energy=float(atoms.get_potential_energy()), forces=atoms.get_forces(), stress=atoms.get_stress())


def walk(n: int, step: float = 0.02) -> list[Atoms]:
    """Copper that moves a little from structure to structure."""
    random, atoms, found = np.random.default_rng(0), bulk("Cu", cubic=True), []
    for _ in range(n):
        atoms = atoms.copy()
        atoms.positions += step * random.standard_normal(atoms.positions.shape)
        found.append(emt(atoms.copy()))
    return found


def times(structures: list[Atoms], factor: float) -> list[Atoms]:
    """With other forces."""
    return [attach(atoms, energy=labels(atoms)["energy"], forces=factor * labels(atoms)["forces"], stress=None) for atoms in structures]


def test_forces_of_the_wrong_sign_or_unit_are_told_by_neighbouring_structures() -> None:
    structures = walk(30)
    assert not_the_slope(structures) == []
    assert "their sign is opposite" in not_the_slope(times(structures, -1.0))[0]
    assert "are energies in eV and forces in eV/Å?" in not_the_slope(times(structures, 23.06))[0]
    assert not_the_slope(times(structures[::-1], 1.0)) == []


def test_structures_that_are_far_apart_or_whose_labels_are_noise_say_nothing() -> None:
    assert not_the_slope(times(walk(30, step=0.5), -1.0)) == []
    random = np.random.default_rng(1)
    noisy = [attach(one, energy=float(random.normal()), forces=-labels(one)["forces"], stress=None) for one in walk(30)]
    assert not_the_slope(noisy) == []
    assert not_the_slope([]) == []


def test_an_atom_that_crosses_the_boundary_has_not_moved_far() -> None:
    structures = walk(30)
    for atoms in structures[::2]:
        atoms.wrap()
    assert not_the_slope(structures) == []
    assert len(not_the_slope(times(structures, -1.0))) == 1


@pytest.mark.parametrize("step", [0.1, 0.005])
def test_labels_of_another_structure_are_told(step: float) -> None:
    known = walk(4, step=step)
    moved = known[1].copy()
    moved.positions += [0.1, 0.2, 4.0]
    moved.wrap()
    known.append(attach(moved, energy=labels(known[1])["energy"], forces=labels(known[1])["forces"], stress=None))
    still = [emt(bulk("Cu", cubic=True, a=a)) for a in (3.5, 3.6)]
    assert borrowed([*known, *still]) == []  # the same structure elsewhere, and no forces
    known[3] = attach(known[3], energy=labels(known[0])["energy"], forces=labels(known[0])["forces"], stress=None)
    (said,) = borrowed(known)
    assert said.startswith("structures 0 and 3 differ and have the same forces")
    (said,) = borrowed(known, frames=range(10, 20))
    assert said.startswith("structures 10 and 13 of data/labelled.extxyz differ")


def test_equal_structures_with_other_labels_are_told() -> None:
    structures = walk(3)
    same, wrong = [*structures, structures[1].copy()], [*structures, *times(structures[1:2], -1.0)]
    same[-1] = attach(same[-1], **{**labels(structures[1])})
    assert contradictions(same, find_duplicates(same, tolerance=0.0)) == []
    (said,) = contradictions(wrong, find_duplicates(wrong, tolerance=0.0))
    unknown = [attach(structures[1], energy=float("nan"), forces=None, stress=None), *wrong]
    assert contradictions(unknown, find_duplicates(unknown, tolerance=0.0)) == [said]
    largest = 2 * np.abs(labels(structures[1])["forces"]).max()
    assert said == f"exact duplicates have labels that differ, by up to 0 eV and {largest:.3g} eV/Å"


CRYSTALS = [bulk("Mg", "hcp", a=3.209, c=5.211), bulk("Cu", cubic=True), bulk("Si", cubic=True), bulk("NaCl", "rocksalt", a=5.64)]


@pytest.mark.parametrize("atoms", CRYSTALS, ids=lambda one: str(one.symbols))
def test_forces_may_vanish_where_symmetry_says_so(atoms: Atoms) -> None:
    atoms = Atoms(atoms.numbers, atoms.positions.round(4), cell=atoms.cell.array.round(4), pbc=True)
    symmetric = [attach(atoms, energy=energy, forces=np.zeros((len(atoms), 3)), stress=None) for energy in (0.0, 1.0)]
    check_labels(symmetric, "file", allow_missing=False)
    moved = symmetric[1].copy()
    moved.positions[0] += 0.05
    with pytest.raises(DataError, match="exact zeros in all 2 structures, which are not symmetric enough"):
        check_labels([symmetric[0], attach(moved, energy=0.0, forces=np.zeros((len(atoms), 3)), stress=None)], "file", allow_missing=False)


def test_one_atom_that_moved_in_a_large_cell_makes_another_structure() -> None:
    perfect = bulk("Cu", cubic=True) * (6, 6, 6)
    moved = perfect.copy()
    moved.positions[5] += (0.03, 0.0, 0.0)
    assert find_duplicates([perfect, moved], tolerance=1e-3).near == []
    turned = moved.copy()
    turned.positions = moved.positions[::-1]
    assert find_duplicates([perfect, moved, turned], tolerance=1e-3).near == [[1, 2]]


@pytest.mark.parametrize("group", ["01", "2_1", "1e3", "T", "1 2", "300", "md 300K", "1.50"])
def test_a_group_keeps_its_name(group: str, tmp_path: Path) -> None:
    atoms = bulk("Cu")
    atoms.info["group"] = group
    frames.write(tmp_path / "a.extxyz", [atoms])
    assert str(open_structures(tmp_path / "a.extxyz")[0].info["group"]) == group


def test_a_virial_counts_where_there_is_no_stress(tmp_path: Path) -> None:
    one, two = walk(2)
    stress = labels(two)["stress"]
    two.calc.results.pop("stress")
    two.info["virial"] = -stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]] * two.cell.volume
    write(tmp_path / "a.extxyz", [one, two])
    reading = read_all(tmp_path / "a.extxyz")
    np.testing.assert_allclose(labels(reading.structures[1])["stress"], stress, atol=1e-7)
    np.testing.assert_allclose(labels(reading.structures[0])["stress"], labels(one)["stress"], atol=1e-7)
    assert "stress = −virial / volume where there is no stress" in reading.found


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    frames.write(tmp_path / "a.extxyz", walk(3))
    with (tmp_path / "a.extxyz").open("rb") as plain, gzip.open(tmp_path / "b.extxyz.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    assert len(read(tmp_path / "b.extxyz.gz")) == 3


class Smeared(EMT):
    """Energies extrapolated from a free energy, as metals have them."""

    def calculate(self, *given: object) -> None:
        super().calculate(*given)
        self.results["energy"] = self.results["free_energy"] + 0.4


def test_an_engine_gives_the_energy_whose_slope_the_forces_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNPX_TRUSTED", __name__.split(".")[0])
    engine = ASE(calculator=f"{__name__}.Smeared", parameters={}, level_of_theory=None)
    assert labels(engine.label(bulk("Cu")))["energy"] == pytest.approx(labels(emt(bulk("Cu")))["energy"])
    atoms = bulk("Cu", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, free_energy=1.25, forces=np.zeros((4, 3)))
    write(tmp_path / "a.traj", atoms)
    assert any("energy and free_energy differ by up to 0.25 eV" in line for line in read_all(tmp_path / "a.traj").found)


def test_isolated_atoms_are_neutral_whatever_the_charge_of_the_structures() -> None:
    settings = {"method": "GFN2-xTB", "accuracy": 1.0, "electronic_temperature_K": 300.0, "max_iterations": 250}
    neutral, ionic = (XTB(**settings, charge=charge) for charge in (0, 2))
    assert ionic.isolated_atom("C") == neutral.isolated_atom("C")
    assert ionic.level_of_theory != neutral.level_of_theory


def test_atoms_of_no_element_and_structures_without_atoms_are_refused() -> None:
    strange = Atoms([119, 1, -1, 0], np.diag([0.0, 1.0, 2.0, 3.0])[:, 1:])
    for atoms, found in ((strange, r"an atom of no element \(Z = -1, X, Z = 119\)\. Correct"), (Atoms(), "none")):
        with pytest.raises((GeometryError, SpeciesError), match=f"structure 0 of file: expected atoms of elements.*found {found}"):
            check_geometry([atoms], "file", minimum_distance=0.1)
