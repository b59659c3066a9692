"""The errors that evaluate writes are those of the potential in models/ on the structures in data/prepared/."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from nnpx import artifact, upstream
from nnpx.assembly import build_parts
from nnpx.config import compose, pipelines_dir
from nnpx.configuration.schema import plain
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, DataError
from nnpx.files import md5
from nnpx.neighbors import graph_from_list
from nnpx.tracking import MLflow
from nnpx.trainer.loop import Trainer

NUMBERS = [1, 8]


def pipeline(verb: str):
    spec = importlib.util.spec_from_file_location(f"pipeline_{verb}", pipelines_dir() / f"{verb}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def curve(seed: int) -> list[dict[str, float | None]]:
    return [
        {
            "epoch": epoch,
            "lr": 1e-3,
            "train_loss": 1.0 / epoch,
            "valid_loss": 1.1 / epoch + 0.01 * seed,
            "valid_energy_mae_per_atom": 0.01 / epoch,
            "valid_forces_mae": 0.1 / epoch,
            "valid_stress_mae": None,
        }
        for epoch in range(1, 6)
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and evaluated project in miniature: two random members, eight labelled waters, no tracking server."""
    tmp_path = tmp_path_factory.mktemp("project")
    generator = np.random.default_rng(0)
    for part, count in {"train": 4, "valid": 3, "test": 8}.items():
        structures = []
        for k in range(count):
            atoms = molecule("H2O")
            atoms.positions += 0.05 * generator.normal(size=(3, 3))
            atoms.info["group"] = "cold" if k % 2 else "hot"
            atoms.calc = SinglePointCalculator(atoms, energy=float(generator.normal()), forces=generator.normal(size=(3, 3)))
            structures.append(atoms)
        (tmp_path / "data" / "prepared").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "data" / "prepared" / f"{part}.extxyz", structures)
    config = plain(compose(["tracking=none"]))
    members = [build_parts(config, numbers=NUMBERS, seed=seed).unscaled_potential() for seed in (0, 1)]
    checksums = {part: md5(tmp_path / "data" / "prepared" / f"{part}.extxyz") for part in ("train", "valid", "test")}
    card = {"level_of_theory": "random numbers", "counts": {"train": 4, "valid": 3, "test": 8}, "md5": checksums}
    provenance = {"git_commit": "a" * 40, "git_dirty": "no"}
    artifact.save(tmp_path / "models" / "potential.nnpx", Ensemble(members), config=config, card=card, provenance=provenance, training={})
    training = {
        "run_id": None,
        "wall_s": 12.5,
        "members": [{"run_id": None, "seed": k, "epochs": 5, "wall_s": 6.0, "curve": curve(k)} for k in (0, 1)],
    }
    (tmp_path / "models" / "training.json").write_text(json.dumps(training))
    pipeline("evaluate")(compose(["tracking=none"]), tmp_path)
    return tmp_path


def test_the_errors_are_those_of_the_potential_on_the_test_set(workspace: Path) -> None:
    found = json.loads((workspace / "reports" / "evaluation" / "metrics.json").read_text())
    structures = read(workspace / "data" / "prepared" / "test.extxyz", ":")
    ensemble = artifact.load(workspace / "models" / "potential.nnpx")
    graph = graph_from_list(structures, numbers=NUMBERS, cutoff=ensemble.cutoff_radius, where="test")
    error = (ensemble(graph).forces - torch.from_numpy(np.concatenate([atoms.get_forces() for atoms in structures]))).abs()
    assert found["test"]["forces"]["mae"] == pytest.approx(float(error.mean()))
    assert found["test"]["forces"]["max"] == pytest.approx(float(error.max()))
    assert found["valid"]["energy"]["count"] == 3
    assert set(found["test"]["by_group"]) == {"hot", "cold"}
    assert -1 <= found["test"]["uncertainty"]["forces"]["spearman_by_atom"] <= 1
    assert set(found["test"]["told_apart"]["spread"]) == {"hot", "cold"}
    assert "told_apart" not in found["valid"]
    predictions = np.load(workspace / "reports" / "evaluation" / "predictions.npz")
    assert predictions["test_forces"].shape == (24, 3)
    assert predictions["test_groups"].tolist()[:2] == ["hot", "cold"]
    assert all(len(predictions[name]) for name in predictions)  # which reads every one, and nothing that is pickled can be read


def test_the_report_has_every_figure_and_asks_the_network_for_nothing(workspace: Path) -> None:
    folder = workspace / "reports" / "evaluation"
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    errors = {"parity_energy", "parity_forces", "force_errors", "force_errors_by_element"}
    assert drawn == {"learning_curves", *errors, "spread_against_error", "reliability", "sparsification"}
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == len(drawn)
    assert "ACSF" in page
    assert "random numbers" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page


def test_the_same_potential_gives_the_same_figures(workspace: Path) -> None:
    folder = workspace / "reports" / "evaluation"
    first = {path.name: path.read_bytes() for path in [*folder.glob("figures/*.svg"), folder / "predictions.npz"]}
    pipeline("evaluate")(compose(["tracking=none"]), workspace)
    assert {path.name: path.read_bytes() for path in [*folder.glob("figures/*.svg"), folder / "predictions.npz"]} == first


def test_it_ends_with_what_its_spread_is_worth_and_the_page(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline("evaluate")(compose(["tracking=none"]), workspace)
    judged = json.loads((workspace / "reports" / "evaluation" / "metrics.json").read_text())["test"]["uncertainty"]["forces"]
    uncertainty, page = capsys.readouterr().out.splitlines()[-2:]
    assert uncertainty.startswith(f"evaluate: test, uncertainty of force components: RMS calibration error {judged['rmsce']:.2g}, ")
    assert re.fullmatch(r"evaluate: 11 structures in \d+ s → reports/evaluation/report\.html", page)


def test_an_evaluation_computes_where_the_trainer_does(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, load = [], artifact.load
    monkeypatch.setattr(Trainer, "device", lambda self: "there")
    monkeypatch.setattr(artifact, "load", lambda path, device: asked.append(device) or load(path))
    pipeline("evaluate")(compose(["tracking=none"]), workspace)
    assert asked == ["there"]


@pytest.fixture
def copy(workspace: Path, tmp_path: Path) -> Path:
    """The project, to be changed by one test."""
    return shutil.copytree(workspace, tmp_path / "copy")


def test_data_that_were_divided_anew_are_refused(copy: Path) -> None:
    """A structure that was trained on could be tested."""
    prepared = copy / "data" / "prepared"
    shutil.copy(prepared / "train.extxyz", prepared / "test.extxyz")
    with pytest.raises(DataError, match=r"potential was trained with, found others in test\. Run `nnpx train` again"):
        pipeline("evaluate")(compose(["tracking=none"]), copy)


def test_without_a_test_set_the_validation_set_is_measured_and_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test, potential = copy / "data" / "prepared" / "test.extxyz", copy / "models" / "potential.nnpx"
    test.write_text("")
    header, ensemble = artifact.read_header(potential), artifact.load(potential)
    card = {**header["card"], "md5": {**header["card"]["md5"], "test": md5(test)}}
    artifact.save(potential, ensemble, config=header["config"], card=card, provenance={}, training={})
    pipeline("evaluate")(compose(["tracking=none"]), copy)
    found = json.loads((copy / "reports" / "evaluation" / "metrics.json").read_text())
    assert "test" not in found
    assert found["valid"]["energy"]["count"] == 3
    pipeline("report")(compose(["tracking=none"]), copy)
    for page in ("evaluation/report.html", "report.html"):
        assert "There is no test set" in (copy / "reports" / page).read_text()
    printed = capsys.readouterr().out
    assert "There is no test set" in printed
    assert "MAE (validation set)" in printed


@pytest.mark.slow
def test_the_evaluation_is_added_to_the_run_that_trained(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    tracker = MLflow(uri=None, experiment="nnpx", flush_every_s=0.0, retry_every_s=60.0, timeout_s=1, workspace=workspace)
    tracker.prepare()
    with tracker.start("train", parent=None, tags={}) as run:
        pass
    path = workspace / "models" / "training.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "run_id": run.id}))
    pipeline("evaluate")(compose(), workspace)
    client = tracker.store.client
    assert client.get_run(run.id).data.metrics["test/forces_mae"] > 0
    assert {"evaluation/report.html", "evaluation/metrics.json"} <= {one.path for one in client.list_artifacts(run.id, "evaluation")}


def test_the_report_joins_evaluation_and_simulation(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = workspace / "reports" / "simulation"
    (simulation / "figures").mkdir(parents=True)
    one = {"unit": "Å", "mean": 1.1, "mean_error": 0.03, "reference_mean": 1.09, "spread": 0.03, "reference_spread": 0.03, "overlap": 0.97}
    kinds = {"C-H": one}
    run = {"nve": {"temperature_K": 300.2, "drift_meV_per_atom_per_ps": 0.00042, "wall_s": 3.5, "distributions": kinds}}
    (simulation / "metrics.json").write_text(json.dumps({**run, "potential_md5": md5(workspace / "models" / "potential.nnpx")}))
    shutil.copy(workspace / "reports/evaluation/figures/parity_energy.svg", simulation / "figures" / "energy.svg")
    pipeline("report")(compose(["tracking=none"]), workspace)
    page = (workspace / "reports" / "report.html").read_text()
    assert page.count("<figure>") == len(list((workspace / "reports").glob("*/figures/*.svg")))
    assert "0.00042" in page
    assert "1.100 ± 0.030" in page
    printed = capsys.readouterr().out
    assert "drift" in printed
    assert "12.5" in printed
    assert "report.html" in printed
    (simulation / "metrics.json").write_text(json.dumps({**run, "potential_md5": "of another"}))
    pipeline("report")(compose(["tracking=none"]), workspace)
    assert "drift" not in (printed := capsys.readouterr().out)
    assert "left out what `nnpx simulate` found of another potential" in printed


def test_words_about_another_potential_are_refused_since_they_would_change_nothing(workspace: Path) -> None:
    potential = workspace / "models" / "potential.nnpx"
    ensemble, header = artifact.load(potential), artifact.read_header(potential)
    of_before = {**header["config"], "descriptor": {key: value for key, value in header["config"]["descriptor"].items() if key != "kind"}}
    artifact.save(potential, ensemble, config=of_before, card=header["card"], provenance={}, training={})  # a key was added since
    for words in (["descriptor=acsf"], ["network.hidden=[64,64]", "name=mine"], ["ensemble.n_members=4", "ensemble.n_processes=1"]):
        upstream.check_same_potential(words, compose(words), workspace)
    for word, key in (("descriptor=soap", r"descriptor\._target_"), ("network.hidden=[8]", r"network\.hidden=\[64, 64\], found \[8\]")):
        with pytest.raises(ConfigError, match=rf"that the potential was trained with, {key}"):
            upstream.check_same_potential(["name=mine", word], compose([word]), workspace)


def test_words_about_other_data_are_refused_since_they_would_change_nothing(tmp_path: Path) -> None:
    card, labelled = tmp_path / "data" / "prepared" / "card.json", tmp_path / "data" / "labelled.extxyz"
    card.parent.mkdir(parents=True)
    (tmp_path / "models").mkdir()
    for file in (labelled, tmp_path / "models" / "potential.nnpx"):
        file.touch()
    words = ["data.n_frames=7", "name=mine"]
    card.write_text(json.dumps({"config": upstream.stamp("prepare", compose(words)), "source_md5": md5(labelled)}))
    upstream.check_same_potential(words, compose(words), tmp_path)
    upstream.check_same_potential(["name=mine"], compose(["name=mine"]), tmp_path)
    with pytest.raises(ConfigError, match=r"data\.n_frames=8: expected the data that the potential was trained and is measured on"):
        upstream.check_same_potential(["data.n_frames=8"], compose(["data.n_frames=8"]), tmp_path)
