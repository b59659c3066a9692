"""The errors that evaluate writes are those of the potential in models/ on the structures in data/prepared/."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from nnpx import artifact
from nnpx.assembly import build_parts
from nnpx.config import compose, pipelines_dir
from nnpx.ensemble import Ensemble
from nnpx.neighbors import graph_from_list
from nnpx.schema import plain
from nnpx.tracking import MLflow

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
    card = {"level_of_theory": "random numbers", "counts": {"train": 4, "valid": 3, "test": 8}}
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
    assert -1 <= found["test"]["spread"]["spearman"] <= 1
    predictions = np.load(workspace / "reports" / "evaluation" / "predictions.npz")
    assert predictions["test_forces"].shape == (24, 3)
    assert predictions["test_groups"].tolist()[:2] == ["hot", "cold"]


def test_the_report_has_every_figure_and_asks_the_network_for_nothing(workspace: Path) -> None:
    folder = workspace / "reports" / "evaluation"
    drawn = {path.stem for path in folder.glob("*.svg")}
    expected = {"learning_curves", "parity_energy", "parity_forces", "force_errors", "force_errors_by_element", "spread_against_error"}
    assert drawn == expected
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == len(drawn)
    assert "ACSF" in page
    assert "random numbers" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page


def test_the_same_potential_gives_the_same_figures(workspace: Path) -> None:
    folder = workspace / "reports" / "evaluation"
    first = {path.name: path.read_bytes() for path in [*folder.glob("*.svg"), folder / "predictions.npz"]}
    pipeline("evaluate")(compose(["tracking=none"]), workspace)
    assert {path.name: path.read_bytes() for path in [*folder.glob("*.svg"), folder / "predictions.npz"]} == first


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
    client = tracker.store._client
    assert client.get_run(run.id).data.metrics["test/forces_mae"] > 0
    assert {"evaluation/report.html", "evaluation/metrics.json"} <= {one.path for one in client.list_artifacts(run.id, "evaluation")}


def test_the_report_joins_evaluation_and_simulation(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = workspace / "reports" / "simulation"
    simulation.mkdir()
    kinds = {"C-H": {"unit": "Å", "mean": 1.1, "reference_mean": 1.09, "spread": 0.03, "reference_spread": 0.03, "overlap": 0.97}}
    run = {"nve": {"temperature_K": 300.2, "drift_meV_per_atom_per_ps": 0.00042, "wall_s": 3.5, "distributions": kinds}}
    (simulation / "metrics.json").write_text(json.dumps(run))
    (simulation / "energy.svg").write_bytes((workspace / "reports" / "evaluation" / "parity_energy.svg").read_bytes())
    pipeline("report")(compose(["tracking=none"]), workspace)
    page = (workspace / "reports" / "report.html").read_text()
    assert page.count("<figure>") == 7
    assert "4.2e-04" in page
    assert "1.1 ± 0.03" in page
    printed = capsys.readouterr().out
    assert "drift" in printed
    assert "12.5" in printed
    assert "report.html" in printed
