"""`label` writes the same bytes for the same experiment, and does nothing twice."""

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from tblite.ase import TBLite

from nnpx.config import compose, fingerprint, instantiate, pipelines_dir
from nnpx.data.jobs import Batch, Engine, Failure, Job, SinglePoints, isolated
from nnpx.data.reader import read_all
from nnpx.errors import DataError
from nnpx.executor import Task
from nnpx.executor.processes import Processes
from nnpx.neighbors import graph_from_list

SMALL = ["data.n_trajectories=1", "data.n_frames=2", "data.n_equilibration=2", "data.stride=2", "data.n_displaced=3"]


def label(overrides: list[str], workspace: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("pipeline_label", pipelines_dir() / "label.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(compose(overrides), workspace)
    return dict(json.loads((workspace / "data" / "labels.json").read_text()))


def copper(n_structures: int) -> list[Atoms]:
    made = []
    for seed in range(n_structures):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_stress()
        atoms.get_forces()
        made.append(atoms)
    return made


@pytest.fixture(scope="module")
def ethanol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few structures of ethanol, labelled by one process."""
    workspace = tmp_path_factory.mktemp("one")
    label([*SMALL, "executor.n_processes=1"], workspace)
    return workspace


def test_ethanol_is_the_same_to_the_byte_for_any_number_of_processes(ethanol: Path, tmp_path: Path) -> None:
    first = json.loads((ethanol / "data" / "labels.json").read_text())
    second = label([*SMALL, "executor.n_processes=2"], tmp_path)
    one, two = ((folder / "data" / "labelled.extxyz").read_bytes() for folder in (ethanol, tmp_path))
    assert one == two
    assert first["made_of"] == second["made_of"]
    assert first["groups"] == {"displaced": 3, "md_1000K_0": 2, "md_300K_0": 2, "md_600K_0": 2}
    assert first["level_of_theory"].startswith("GFN2-xTB")
    assert not list((tmp_path / ".nnpx").rglob("journal.jsonl"))


def test_ethanol_labels_are_those_of_the_engine(ethanol: Path) -> None:
    reading = read_all(ethanol / "data" / "labelled.extxyz")
    assert set(reading.isolated) == {"H", "C", "O"}
    atoms = reading.structures[-1].copy()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    assert reading.structures[-1].get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    assert np.allclose(reading.structures[-1].get_forces(), atoms.get_forces(), atol=2e-3)


def test_seed_changes_every_job_but_the_isolated_atoms() -> None:
    keys = []
    for seed in (0, 0, 1):
        asked: list[Job] = []
        instantiate(compose(SMALL).data).gather(lambda jobs, asked=asked: asked.extend(jobs) or Batch([], []), Path(), seed)
        keys.append([job.key() for job in asked])
    assert keys[0] == keys[1]
    assert len(set(keys[0]) & set(keys[2])) == 3


def test_users_file_is_written_with_its_labels(tmp_path: Path) -> None:
    write(tmp_path / "mine.extxyz", copper(4))
    overrides = ["data=extxyz", "data.path=mine.extxyz", "data.level_of_theory=EMT"]
    told = label(overrides, tmp_path)
    assert told["level_of_theory"] == "EMT"
    assert told["config"] == fingerprint(*(compose(overrides)[key] for key in ("data", "reference", "seed")))
    assert "forces from results['forces'] in 4 of 4 structures" in told["found"]
    for atoms, truth in zip(read(tmp_path / "data" / "labelled.extxyz", ":"), copper(4), strict=True):
        assert np.allclose(atoms.get_forces(), truth.get_forces(), atol=1e-7)
        assert np.allclose(atoms.get_stress(), truth.get_stress(), atol=1e-7)


def test_second_time_nothing_is_done_until_the_file_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "mine.extxyz", copper(4))
    overrides = ["data=extxyz", "data.path=mine.extxyz"]
    label(overrides, tmp_path)
    capsys.readouterr()
    label([*overrides, "data.split.n_valid=0.3"], tmp_path)
    assert "up to date (4 structures)" in capsys.readouterr().out
    write(tmp_path / "mine.extxyz", copper(5))
    assert label(overrides, tmp_path)["n_structures"] == 5


def test_published_files_keep_their_parts(tmp_path: Path) -> None:
    structures = copper(8)
    write(tmp_path / "train.xyz", structures[:5], format="extxyz")
    write(tmp_path / "test.xyz", structures[5:], format="extxyz")
    write(tmp_path / "atoms.xyz", Atoms("Cu", info={"energy": 3.5}), format="extxyz")
    names = ["data.path=train.xyz", "data.path_test=test.xyz", "data.isolated_atoms=atoms.xyz"]
    assert label(["data=extxyz", *names], tmp_path)["isolated_atoms"] == {"Cu": 3.5}
    reading = read_all(tmp_path / "data" / "labelled.extxyz")
    assert [atoms.info.get("given_part") for atoms in reading.structures] == [None] * 5 + ["test"] * 3


def test_bad_file_stops_before_anything_is_written(tmp_path: Path) -> None:
    write(tmp_path / "mine.extxyz", molecule("H2O"))
    with pytest.raises(DataError, match="found no labels"):
        label(["data=extxyz", "data.path=mine.extxyz"], tmp_path)
    assert not (tmp_path / "data").exists()


def test_geometries_without_labels_are_labelled_and_failures_recorded(tmp_path: Path) -> None:
    """EMT knows copper and not silicon."""
    write(tmp_path / "mine.xyz", [bulk("Cu"), bulk("Si"), bulk("Cu", cubic=True)], format="extxyz")
    told = label(["data=unlabelled", "data.path=mine.xyz", "data.isolated_atoms=false", "reference=emt"], tmp_path)
    assert told["n_structures"] == 2
    assert [failure["name"] for failure in told["failures"]] == ["structure 1 of mine.xyz, geometry 0"]
    atoms = read(tmp_path / "data" / "labelled.extxyz", 0)
    assert atoms.get_potential_energy() == pytest.approx(copper_energy())


def test_what_failed_is_tried_again_by_the_next_call_and_the_rest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full is free again."""
    write(tmp_path / "mine.xyz", [bulk("Cu", a=3.6), bulk("Cu", a=3.7), bulk("Cu", a=3.8)], format="extxyz")
    words = ["data=unlabelled", "data.path=mine.xyz", "data.isolated_atoms=false", "reference=emt", "executor.n_processes=1"]
    asked: list[float] = []
    is_full = True

    def work(self: SinglePoints, engine: object) -> Batch:
        (atoms,) = self.structures
        asked.append(round(float(atoms.cell[0, 1]), 2))
        return Batch([], [Failure(self.name, "No space left")]) if is_full and asked[-1] == 1.85 else really(self, engine)

    really = SinglePoints.run
    monkeypatch.setattr(SinglePoints, "run", work)
    monkeypatch.setattr("nnpx.executor.processes.Processes.results", in_this_process)
    assert label(words, tmp_path)["n_structures"] == 2
    assert asked == [1.8, 1.85, 1.9]
    is_full = False
    told = label(words, tmp_path)
    assert (told["n_structures"], told["failures"], asked[3:]) == (3, [], [1.85])
    label(words, tmp_path)
    assert len(asked) == 4


def in_this_process(self: Processes, engine: Engine, tasks: Sequence[Task], folder: Path) -> Iterator[tuple[str, Batch]]:
    for task in tasks:
        yield task.key, task.done(engine)


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    names = ("a/frames.xyz", "b/frames.xyz")
    for name in names:
        (tmp_path / name).parent.mkdir()
        write(tmp_path / name, copper(6))
    words = ["data=extxyz", f"data.path={names[0]}", f"data.path_test={names[1]}", "data.split.n_valid=2"]
    before = label(words, tmp_path)
    assert set(before["inputs"]) == set(names)
    write(tmp_path / names[0], copper(7))
    assert label(words, tmp_path)["n_structures"] == 13


def test_charges_that_differ_are_no_data_set(tmp_path: Path) -> None:
    neutral, ion = molecule("OH"), molecule("OH")
    ion.info["charge"] = -1
    write(tmp_path / "mine.xyz", [neutral, ion], format="extxyz")
    with pytest.raises(DataError, match=r"expected one total charge, .* found charges of -1, 0 e. Label each apart"):
        label(["data=unlabelled", "data.path=mine.xyz", "reference=xtb"], tmp_path)


def test_isolated_atoms_of_two_files_have_one_energy(tmp_path: Path) -> None:
    for name, energy in (("mine.xyz", -1.0), ("test.xyz", -900.0)):
        write(tmp_path / name, [*copper(6), isolated("Cu", energy)], format="extxyz")
    with pytest.raises(DataError, match=r"isolated Cu: expected one energy, found -1.0 and -900.0 eV in two files"):
        label(["data=extxyz", "data.path=mine.xyz", "data.path_test=test.xyz"], tmp_path)


def copper_energy() -> float:
    atoms = bulk("Cu")
    atoms.calc = EMT()
    return float(atoms.get_potential_energy())


def test_water_clusters_have_varying_composition(tmp_path: Path) -> None:
    small = ["data.sizes=[1,3]", "data.n_trajectories=1", "data.n_frames=2", "data.n_relax=2", "data.n_equilibration=1", "data.stride=1"]
    label(["data=water_xtb", *small], tmp_path)
    formulas = [atoms.get_chemical_formula() for atoms in read_all(tmp_path / "data" / "labelled.extxyz").structures]
    assert formulas == ["H2O", "H2O", "H6O3", "H6O3"]


@pytest.mark.slow
def test_silicon_has_stress_that_rises_with_volume(tmp_path: Path) -> None:
    small = ["data.n_strained=6", "data.n_displaced=1", "data.n_both=1", "reference=xtb_gfn1"]
    label(["data=silicon_xtb", *small], tmp_path)
    structures = read_all(tmp_path / "data" / "labelled.extxyz").structures
    assert {len(atoms) for atoms in structures} == {8}
    volume = [atoms.cell.volume for atoms in structures[:6]]
    tension = [atoms.get_stress()[:3].mean() for atoms in structures[:6]]
    assert np.corrcoef(volume, tension)[0, 1] > 0.9


def test_error_bars_of_energies_are_kept_where_the_user_names_them(tmp_path: Path) -> None:
    structures = copper(4)
    for k, atoms in enumerate(structures):
        atoms.info["dmc_error"] = 0.01 * (k + 1)
    write(tmp_path / "mine.extxyz", structures)
    overrides = ["data=extxyz", "data.path=mine.extxyz"]
    label([*overrides, "data.keys.energy_std=dmc_error"], tmp_path)
    frames = read_all(tmp_path / "data" / "labelled.extxyz").structures
    graph = graph_from_list(frames, numbers=[29], cutoff=3.0, where="test")
    assert graph.energy_noise.tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert graph.select(torch.tensor([2])).energy_noise.tolist() == [0.03]
    for atoms in structures:
        atoms.info["energy_noise"] = "a name of the user's own"
    write(tmp_path / "mine.extxyz", structures)
    label(overrides, tmp_path)
    bare = graph_from_list(read_all(tmp_path / "data" / "labelled.extxyz").structures, numbers=[29], cutoff=3.0, where="test")
    assert bare.energy_noise.isnan().all()
    structures[2].info["dmc_error"] = 0.0
    write(tmp_path / "mine.extxyz", structures)
    with pytest.raises(DataError, match=r"data.keys.energy_std=dmc_error: expected a positive number .* found 0"):
        label([*overrides, "data.keys.energy_std=dmc_error"], tmp_path)
