"""`nnpx data diff` tells what was done to a copy of a data set, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from small import carbons, ethanols

from nnpx.commands import data
from nnpx.data.difference import Difference, difference
from nnpx.data.frames import attach, labels
from nnpx.data.versions import Version, open_version
from nnpx.errors import ConfigError, DataError


def version(structures: list[Atoms], folder: Path, name: str) -> Version:
    write(folder / f"{name}.extxyz", structures)
    return open_version(f"{name}.extxyz", folder)


def compared(old: list[Atoms], new: list[Atoms], folder: Path, tolerance: float = 1e-3) -> Difference:
    return difference(version(old, folder, "old"), version(new, folder, "new"), tolerance=tolerance)


def relabelled(atoms: Atoms, *, energy: float = 0.0, force: float = 0.0) -> Atoms:
    """A copy with another energy (eV), and another force (eV/Å) on its last atom."""
    found = labels(atoms)
    forces = found["forces"].copy()
    forces[-1, 1] += force
    return attach(atoms, energy=found["energy"] + energy, forces=forces, stress=found.get("stress"))


@pytest.fixture
def structures() -> list[Atoms]:
    return [*ethanols(6), *carbons(6)]


def test_a_copy_is_the_same_in_any_order(structures: list[Atoms], tmp_path: Path) -> None:
    assert not compared(structures, structures[::-1], tmp_path)


def test_what_was_added_removed_and_relabelled_is_found_and_measured(structures: list[Atoms], tmp_path: Path) -> None:
    changed = [relabelled(structures[1], energy=0.9), relabelled(structures[2], force=0.05), *structures[3:], *ethanols(2, seed=9)]
    found = compared(structures, changed, tmp_path)
    assert found.removed == [0]
    assert found.added == [11, 12]
    assert [(one.before, one.after) for one in found.relabelled] == [(1, 0), (2, 1)]
    assert found.relabelled[0].energy == pytest.approx(0.9 / 9)
    assert found.relabelled[0].forces == pytest.approx(0.0, abs=1e-9)
    assert found.relabelled[1].forces == pytest.approx(0.05, rel=1e-6)
    assert found.same == 11


def test_a_label_that_only_one_version_has_is_a_change(structures: list[Atoms], tmp_path: Path) -> None:
    bare = attach(structures[8], energy=labels(structures[8])["energy"], forces=labels(structures[8])["forces"], stress=None)
    found = compared(structures, [*structures[:8], bare, *structures[9:]], tmp_path)
    assert [one.after for one in found.relabelled] == [8]
    assert np.isinf(found.relabelled[0].stress)


def test_a_molecule_that_was_turned_and_reordered_is_the_same_with_the_same_labels(tmp_path: Path) -> None:
    old = ethanols(5)
    turned = old[2].copy()
    turned.rotate(40, (1, 2, 3))
    order = np.random.default_rng(0).permutation(len(turned))
    forces = old[2].calc.results["forces"] @ rotation(old[2], turned)
    turned = turned[order]
    turned.calc = SinglePointCalculator(turned, energy=old[2].calc.results["energy"], forces=forces[order])
    assert not compared(old, [*old[:2], turned, *old[3:]], tmp_path)
    assert compared(old, [*old[:2], relabelled(turned, force=0.2), *old[3:]], tmp_path).relabelled[0].before == 2


def rotation(before: Atoms, after: Atoms) -> np.ndarray:
    """The matrix that turns the positions of one structure into those of the other."""
    return np.linalg.lstsq(before.positions, after.positions, rcond=None)[0]


def test_crystals_that_differ_by_small_displacements_are_different(tmp_path: Path) -> None:
    """In a crystal the densities change with the square of a displacement only."""
    old, moved = carbons(1), carbons(1)
    moved[0].positions[0] += 0.02
    moved[0].calc = SinglePointCalculator(moved[0], **old[0].calc.results)
    found = compared(old, moved, tmp_path)
    assert (found.added, found.removed) == ([0], [0])


def test_fewer_digits_in_the_file_change_nothing(structures: list[Atoms], tmp_path: Path) -> None:
    rounded = [attach(atoms, **{name: labels(atoms).get(name) for name in ("energy", "forces", "stress")}) for atoms in structures]
    for atoms in rounded:
        atoms.positions = atoms.positions.round(6)
        atoms.calc.atoms.positions = atoms.positions
    found = compared(structures, rounded, tmp_path)
    assert (found.added, found.removed, found.relabelled) == ([], [], [])
    assert len(compared(structures, rounded, tmp_path, tolerance=0.0).added) == 12


@pytest.fixture
def prepared(structures: list[Atoms], tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    for name, part in {"train": structures[:8], "valid": structures[8:10], "test": structures[10:]}.items():
        write(folder / f"{name}.extxyz", part)
    return folder


def test_structures_that_changed_sides_are_told(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = prepared.parent / "other"
    other.mkdir()
    train, valid, test = (read(prepared / f"{name}.extxyz", ":") for name in ("train", "valid", "test"))
    for name, part in {"train": [*train[1:], test[0]], "valid": valid, "test": [train[0], test[1]]}.items():
        write(other / f"{name}.extxyz", part)
    assert data.main(["diff", str(prepared), str(other)]) == 1
    told = capsys.readouterr().out
    assert "test → train 1, train → test 1" in told
    assert "unchanged" in told
    assert data.main(["diff", str(prepared), str(prepared)]) == 0


def test_another_level_of_theory_is_told(structures: list[Atoms], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, method in {"a": "PBE", "b": "RPA"}.items():
        (tmp_path / name / "data").mkdir(parents=True)
        write(tmp_path / name / "data" / "labelled.extxyz", structures)
        (tmp_path / name / "data" / "labels.json").write_text(json.dumps({"level_of_theory": method, "failures": []}))
    assert data.main(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--markdown"]) == 1
    told = capsys.readouterr().out
    assert "| level of theory | PBE | RPA |" in told
    assert told.count("**") == 4


def test_the_card_of_a_file_counts_what_is_in_it(structures: list[Atoms], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "mine.extxyz", structures)
    assert data.main(["card", str(tmp_path / "mine.extxyz")]) == 0
    told = capsys.readouterr().out
    assert "H, C, O" in told
    assert "energy (12), forces (12), stress (6)" in told


def test_a_version_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"nowhere: expected a version of the data, found "):
        data.main(["diff", "nowhere"])
    with pytest.raises(ConfigError, match="expected a version to compare with, found none"):
        data.main(["diff"])
    with pytest.raises(ConfigError, match=r"expected no tolerance, found 0.5. Leave it out"):
        data.main(["card", "mine.extxyz", "--tolerance", "0.5"])
    with pytest.raises(ConfigError, match=r"expected one version, found mine.extxyz and data.keys.energy=my_energy. Leave"):
        data.main(["card", "mine.extxyz", "data.keys.energy=my_energy"])
