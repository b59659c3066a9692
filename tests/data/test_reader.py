"""Labels are found wherever they hide, and what cannot be learned from is refused with one clear error."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import write

from nnpx.data import frames
from nnpx.data.checks import check_elements, check_energies, check_geometry, check_labels
from nnpx.data.reader import read, read_all, read_isolated
from nnpx.errors import DataError, GeometryError

ENERGY = -3.25


def copper(seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def labelled(seed: int = 0) -> Atoms:
    atoms = copper(seed)
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_every_digit_survives_writing_and_reading(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.info.update(group="md 300K", step=7, flag=True)
    atoms.set_initial_magnetic_moments(np.linspace(-1.0, 1.0 / 3.0, len(atoms)))
    frames.write(tmp_path / "a.extxyz", [atoms])
    back = read(tmp_path / "a.extxyz")[0]
    assert np.array_equal(back.positions, atoms.positions)
    kept = frames.restore(json.loads(json.dumps(frames.record(back))))
    for one in (back, kept):
        assert np.array_equal(one.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments())
    assert np.array_equal(back.calc.results["forces"], atoms.calc.results["forces"])
    assert np.array_equal(back.calc.results["stress"], atoms.calc.results["stress"])
    assert back.calc.results["energy"] == atoms.calc.results["energy"]
    assert (back.info["group"], back.info["step"], back.info["flag"]) == ("md 300K", 7, True)


@pytest.mark.parametrize("name", ["REF_energy", "ref_energy", "DFT_energy", "dft_energy", "Energy", "energy_ref", "energy"])
def test_energy_is_found_in_info(tmp_path: Path, name: str) -> None:
    atoms = copper()
    atoms.info[name] = ENERGY
    write(tmp_path / "a.extxyz", atoms)
    reading = read_all(tmp_path / "a.extxyz")
    assert reading.structures[0].get_potential_energy() == ENERGY
    assert name in reading.found[0]
    assert "1 of 1 structures" in reading.found[0]


@pytest.mark.parametrize("name", ["REF_forces", "dft_forces", "force", "forces"])
def test_forces_are_found_in_arrays(tmp_path: Path, name: str) -> None:
    atoms = copper()
    forces = np.round(np.random.default_rng(0).standard_normal((4, 3)), 3)
    atoms.info["REF_energy"], atoms.arrays[name] = ENERGY, forces
    write(tmp_path / "a.extxyz", atoms)
    assert read(tmp_path / "a.extxyz")[0].get_forces() == pytest.approx(forces)


def test_user_given_keys_come_before_everything(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.info["my_energy"] = ENERGY
    write(tmp_path / "a.extxyz", atoms)
    assert read(tmp_path / "a.extxyz", keys={"energy": "my_energy"})[0].get_potential_energy() == ENERGY


def test_wrong_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.info["my_energy"] = ENERGY
    write(tmp_path / "a.extxyz", atoms)
    with pytest.raises(DataError, match="Did you mean my_energy"):
        read(tmp_path / "a.extxyz", keys={"energy": "my_enrgy"})


def test_two_energies_are_told(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.info["REF_energy"] = ENERGY
    write(tmp_path / "a.extxyz", atoms)
    reading = read_all(tmp_path / "a.extxyz")
    assert reading.structures[0].get_potential_energy() == ENERGY
    assert any("data.keys.energy=energy" in line for line in reading.found)


def test_forces_of_constrained_atoms_are_not_zeroed(tmp_path: Path) -> None:
    atoms = labelled()
    forces = atoms.calc.results["forces"].copy()
    atoms.set_constraint(FixAtoms([0, 1]))
    with connect(tmp_path / "a.db") as database:
        database.write(atoms)
    found = read(tmp_path / "a.db")[0]
    assert not found.constraints
    assert np.allclose(found.get_forces(), forces)
    assert np.any(found.get_forces()[0])


def test_forces_written_with_constraints_are_remarked(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.calc.results["forces"][:2] = 0.0
    atoms.set_constraint(FixAtoms([0, 1]))
    write(tmp_path / "a.traj", atoms)
    assert any("constrained atoms are exactly zero" in line for line in read_all(tmp_path / "a.traj").found)


def test_ase_database_gives_labels_from_its_data(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        database.write(copper(), key_value_pairs={"my_energy": ENERGY}, data={"my_forces": np.ones((4, 3))})
    keys = {"energy": "my_energy", "forces": "my_forces"}
    atoms = read(tmp_path / "a.db", keys=keys)[0]
    assert atoms.get_potential_energy() == ENERGY
    assert np.array_equal(atoms.get_forces(), np.ones((4, 3)))


@pytest.mark.parametrize("suffix", ["traj", "extxyz", "db", "json"])
def test_formats_agree(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"a.{suffix}", [labelled(0), labelled(1)])
    found = read(tmp_path / f"a.{suffix}")
    for atoms, truth in zip(found, [labelled(0), labelled(1)], strict=True):
        assert atoms.get_potential_energy() == pytest.approx(truth.get_potential_energy(), abs=1e-7)
        assert np.allclose(atoms.get_forces(), truth.get_forces(), atol=1e-7)
        assert np.allclose(atoms.get_stress(), truth.get_stress(), atol=1e-7)


def test_virial_becomes_stress_with_the_sign_of_ase(tmp_path: Path) -> None:
    """A compressed crystal pushes outwards: positive virial, negative stress."""
    atoms = copper()
    atoms.set_cell(0.95 * np.asarray(atoms.cell), scale_atoms=True)
    atoms.calc = EMT()
    stress = atoms.get_stress(voigt=False)
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={"energy": ENERGY, "virial": -stress * atoms.cell.volume})
    write(tmp_path / "a.extxyz", bare)
    reading = read_all(tmp_path / "a.extxyz")
    assert np.allclose(reading.structures[0].get_stress(voigt=False), stress, atol=1e-6)
    assert np.all(reading.structures[0].get_stress()[:3] < 0)
    assert "stress = −virial / volume" in reading.found


def test_isolated_atoms_are_set_apart(tmp_path: Path) -> None:
    alone = Atoms("Cu", info={"config_type": "isolated_atom", "energy": 1.5})
    write(tmp_path / "a.extxyz", [alone, labelled()])
    reading = read_all(tmp_path / "a.extxyz")
    assert reading.isolated == {"Cu": 1.5}
    assert len(reading.structures) == 1
    write(tmp_path / "b.extxyz", Atoms("H", info={"energy": -13.6}))
    assert read_isolated("b.extxyz", tmp_path) == {"H": -13.6}


# ---- bad input: one clear error each


def test_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", copper())
    with pytest.raises(DataError, match=r"a\.extxyz: expected an energy .* found no labels"):
        read(tmp_path / "a.extxyz")


def test_forces_missing_on_some_frames() -> None:
    structures = [labelled(seed) for seed in range(4)]
    del structures[2].calc.results["forces"]
    with pytest.raises(DataError, match=r"none in 1 of 4: structures 2"):
        check_labels(structures, "a.extxyz", allow_missing=False)
    check_labels(structures, "a.extxyz", allow_missing=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["energy", "forces"])
def test_numbers_that_are_not_finite(name: str, value: float) -> None:
    structures = [labelled(0), labelled(1)]
    structures[1].calc.results[name] = np.full((4, 3), value) if name == "forces" else value
    with pytest.raises(DataError, match=rf"structure 1 of a.extxyz: expected a finite {name}"):
        check_labels(structures, "a.extxyz", allow_missing=False)


def test_nan_energy_survives_reading_and_is_then_refused(tmp_path: Path) -> None:
    atoms = copper()
    atoms.info["REF_energy"] = np.nan
    write(tmp_path / "a.extxyz", atoms)
    with pytest.raises(DataError, match=r"a finite energy, found nan"):
        check_labels(read(tmp_path / "a.extxyz"), "a.extxyz", allow_missing=False)


def test_forces_that_are_all_zero() -> None:
    structures = [labelled(0), labelled(1)]
    for atoms in structures:
        atoms.calc.results["forces"] = np.zeros((4, 3))
    with pytest.raises(DataError, match="forces that are not all zero"):
        check_labels(structures, "a.extxyz", allow_missing=False)


def test_two_atoms_too_close() -> None:
    atoms = Atoms("H2O", [[0, 0, 0], [0, 0, 0.2], [0, 0, 2]])
    with pytest.raises(GeometryError, match=r"H0 and H1 at 0.2000 Å"):
        check_geometry([molecule("H2O"), atoms], "a.extxyz", minimum_distance=0.3)


def test_two_atoms_too_close_across_the_boundary() -> None:
    atoms = Atoms("H2", [[0.05, 1, 1], [4.95, 1, 1]], cell=[5, 5, 5], pbc=True)
    with pytest.raises(GeometryError, match=r"at 0.1000 Å"):
        check_geometry([atoms], "a.extxyz", minimum_distance=0.3)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.zeros((3, 3)), "which has no volume"),
        (np.array([[3.0, 0, 0], [3, 0, 0], [0, 0, 3]]), "which has no volume"),
        (np.array([[0, 3.0, 0], [3, 0, 0], [0, 0, 3]]), "expected a right-handed cell"),
    ],
)
def test_cell_without_volume_or_left_handed(cell: np.ndarray, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        check_geometry([Atoms("Cu", [[0, 0, 0]], cell=cell, pbc=True)], "a.extxyz", minimum_distance=0.3)


def test_a_surface_whose_third_vector_lies_in_its_plane_is_refused_before_it_is_labelled() -> None:
    surface = Atoms("Cu", [[0, 0, 0]], cell=[[3.0, 0, 0], [0, 3.0, 0], [3.0, 3.0, 0]], pbc=[True, True, False])
    with pytest.raises(GeometryError, match=r"structure 0 of a\.extxyz: expected a cell with a volume, .* whose vectors lie in a plane"):
        check_geometry([surface], "a.extxyz", minimum_distance=0.3)


def test_validation_without_an_element() -> None:
    water, ethanol = molecule("H2O"), molecule("CH3CH2OH")
    with pytest.raises(DataError, match=r"valid: expected the elements of train .* found no structure with C"):
        check_elements({"train": [water, ethanol], "valid": [water], "test": []})
    with pytest.raises(DataError, match=r"train: expected the elements of valid .* found no structure with C"):
        check_elements({"train": [water], "valid": [ethanol], "test": []})


def test_a_part_that_no_energy_judges() -> None:
    with_one, without = labelled(0), labelled(1)
    del without.calc.results["energy"]
    check_energies({"train": [with_one, without], "valid": [without, with_one], "test": []})
    with pytest.raises(DataError, match=r"valid: expected at least one structure with an energy, found none among 2"):
        check_energies({"train": [with_one], "valid": [without, without], "test": [with_one]})
    without.calc.results["energy"] = np.nan
    with pytest.raises(DataError, match="test: expected at least one"):
        check_energies({"train": [with_one], "valid": [with_one], "test": [without]})
