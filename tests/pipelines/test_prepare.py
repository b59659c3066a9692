"""`prepare` writes three disjoint files and a card that tells the truth about them."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from nnpx.config import compose, fingerprint, pipelines_dir
from nnpx.data.card import remarks
from nnpx.data.duplicates import Duplicates
from nnpx.data.jobs import isolated
from nnpx.errors import DataError, GeometryError

FILE = ["data=extxyz", "data.path=unused.extxyz"]


def prepare(overrides: list[str], workspace: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("pipeline_prepare", pipelines_dir() / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(compose([*FILE, *overrides]), workspace)
    return dict(json.loads((workspace / "data" / "prepared" / "card.json").read_text()))


def labelled(atoms: Atoms, generator: np.random.Generator, group: str) -> Atoms:
    atoms.positions += 0.05 * generator.standard_normal(atoms.positions.shape)
    atoms.info["group"] = group
    atoms.calc = SinglePointCalculator(atoms, energy=-5.0 * len(atoms), forces=generator.standard_normal((len(atoms), 3)))
    return atoms


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    structures = [labelled(molecule("H2O"), generator, f"md_{index // 10}") for index in range(40)]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "labelled.extxyz", [isolated("H", -13.5), isolated("O", -2040.0), *structures])
    (tmp_path / "data" / "labels.json").write_text(json.dumps({"level_of_theory": "made up", "failures": []}))
    return tmp_path


def test_card_says_what_is_in_the_files(workspace: Path) -> None:
    card = prepare([], workspace)
    assert card["elements"] == ["H", "O"]
    assert card["numbers"] == [1, 8]
    assert card["counts"] == {"train": 32, "valid": 4, "test": 4}
    assert card["labels"] == {"energy": True, "forces": True, "stress": False}
    assert card["isolated_atoms"] == {"H": -13.5, "O": -2040.0}
    assert card["level_of_theory"] == "made up"
    assert card["ranges"]["energy_per_atom"] == [-5.0, -5.0]
    assert card["config"] == fingerprint(compose(FILE).data, compose(FILE).seed)
    everything = [atoms for part in card["counts"] for atoms in read(workspace / "data" / "prepared" / f"{part}.extxyz", ":")]
    assert len({atoms.positions.tobytes() for atoms in everything}) == 40
    forces = np.concatenate([atoms.get_forces() for atoms in everything])
    assert card["ranges"]["force_rms"] == pytest.approx(np.sqrt(np.mean(forces**2)))
    assert card["ranges"]["distance_min"] == pytest.approx(
        min(atoms.get_all_distances()[np.triu_indices(3, 1)].min() for atoms in everything)
    )
    for part in card["counts"]:
        path = workspace / "data" / "prepared" / f"{part}.extxyz"
        assert card["md5"][part] == hashlib.md5(path.read_bytes()).hexdigest()


def test_same_experiment_gives_the_same_bytes(workspace: Path) -> None:
    prepare([], workspace)
    folder = workspace / "data" / "prepared"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in list(folder.iterdir()):
        path.unlink()
    prepare([], workspace)
    assert first == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_second_time_nothing_is_done_until_the_split_changes(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare([], workspace)
    capsys.readouterr()
    prepare([], workspace)
    assert "up to date" in capsys.readouterr().out
    assert prepare(["data.split.n_valid=8"], workspace)["counts"]["valid"] == 8


def test_damaged_part_is_written_again(workspace: Path) -> None:
    card = prepare([], workspace)
    path = workspace / "data" / "prepared" / "train.extxyz"
    path.write_text("nothing")
    prepare([], workspace)
    assert hashlib.md5(path.read_bytes()).hexdigest() == card["md5"]["train"]


def test_bad_data_stop_before_anything_is_written(workspace: Path) -> None:
    path = workspace / "data" / "labelled.extxyz"
    structures = read(path, ":")
    del structures[5].calc.results["forces"]
    del structures[2].calc.results["energy"]
    write(path, structures)
    with pytest.raises(
        DataError, match=r"energy, forces in all structures or in none, found energy: none in 1 of .*: structures 2; forces: .* 5"
    ):
        prepare([], workspace)
    structures[5].positions[1] = structures[5].positions[0] + [0, 0, 0.1]
    write(path, structures)
    with pytest.raises(GeometryError, match=r"structure 5 of labelled\.extxyz"):
        prepare(["data.allow_missing=true"], workspace)
    assert not (workspace / "data" / "prepared").exists()


def test_split_that_leaves_validation_without_an_element_is_refused(workspace: Path) -> None:
    path = workspace / "data" / "labelled.extxyz"
    methane = labelled(molecule("CH4"), np.random.default_rng(1), "methane")
    write(path, [*read(path, ":"), methane])
    with pytest.raises(DataError, match=r"expected the elements of .* found no structure with C"):
        prepare([], workspace)


def test_missing_label_is_allowed_when_asked_for(workspace: Path) -> None:
    path = workspace / "data" / "labelled.extxyz"
    structures = read(path, ":")
    del structures[5].calc.results["forces"]
    write(path, structures)
    assert prepare(["data.allow_missing=true"], workspace)["label_counts"] == {"energy": 40, "forces": 39, "stress": 0}


def test_without_labelled_data_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labelled\.extxyz: expected a file"):
        prepare([], tmp_path)


def test_stress_with_the_wrong_sign_is_remarked() -> None:
    """ASE's stress grows when a crystal is expanded; a file in which it falls has the other sign."""
    crystals = []
    for size in np.linspace(0.95, 1.05, 12):
        atoms = Atoms("Cu", cell=3 * size * np.eye(3), pbc=True)
        stress = np.array([1.0, 1, 1, 0, 0, 0]) * (size - 1)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)), stress=-stress)
        crystals.append(atoms)
    assert any("opposite to ASE" in line for line in remarks(crystals, Duplicates([], [])))
    for atoms in crystals:
        atoms.calc.results["stress"] = -atoms.calc.results["stress"]
    assert not any("opposite to ASE" in line for line in remarks(crystals, Duplicates([], [])))


def test_charges_that_no_potential_sees_are_remarked() -> None:
    """One charge for each kind of molecule is no trouble; two for the same atoms are."""
    radical, water = (Atoms(formula, positions=np.eye(3)[: len(Atoms(formula))]) for formula in ("OH", "OH2"))
    for atoms in (radical, water):
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
    anion = radical.copy()
    anion.calc, anion.info["charge"] = SinglePointCalculator(anion, energy=1.0, forces=np.zeros((2, 3))), -1
    assert not any("charge" in line for line in remarks([anion, water], Duplicates([], [])))
    assert any(line.startswith("info['charge'] of HO is -1, 0:") for line in remarks([anion, water, radical], Duplicates([], [])))
    radical.info["charge"], anion.info["charge"] = 1e-7, np.nan  # a sum of partial charges, and none
    assert not any("charge" in line for line in remarks([anion, water, radical], Duplicates([], [])))


def test_what_is_suspicious_is_said_again_when_nothing_is_to_be_done(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = workspace / "data" / "labelled.extxyz"
    structures = read(path, ":")
    structures[-1].calc.results["energy"] += 500.0
    write(path, structures)
    prepare([], workspace)
    capsys.readouterr()
    prepare([], workspace)
    up_to_date, said = capsys.readouterr().out.split("\n", 1)
    assert up_to_date == "prepare: data/prepared is up to date"
    assert "the energy of structure 41 (+" in " ".join(said.split())
