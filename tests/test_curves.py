"""Curves that DVC draws: the numbers of the evaluation, under the names that dvc.yaml asks for."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from nnpx.commands import plots
from nnpx.curves import error_distribution, learning_curve, parity_of_energies, write_tables
from nnpx.errors import ConfigError
from nnpx.evaluation import Comparison

PLOTS = {
    name: plot for entry in yaml.safe_load((Path(__file__).parent.parent / "dvc.yaml").read_text())["plots"] for name, plot in entry.items()
}
MEMBERS = [
    [{"epoch": 1, "train_loss": 4.0, "valid_forces_mae": 0.2}, {"epoch": 2, "train_loss": 2.0, "valid_forces_mae": 0.1}],
    [{"epoch": 1, "train_loss": 2.0, "valid_forces_mae": None}],
]


def comparison(n: int) -> Comparison:
    """`n` structures of two atoms whose first atom is wrong by 1 … n eV/Å, and whose last energy has no label."""
    owner = np.repeat(np.arange(n), 2)
    label = np.where(np.arange(n) == n - 1, np.nan, np.arange(n, dtype=float))
    forces = np.zeros((2 * n, 3))
    forces[::2, 0] = np.arange(1, n + 1)
    nothing, stress = np.full(n, np.nan), np.full((n, 3, 3), np.nan)
    numbers = np.ones(2 * n, dtype=int)
    unknown, zero = np.full_like(forces, np.nan), np.zeros_like(forces)
    return Comparison(numbers, owner, [""] * n, label, label + 1, nothing, zero, forces, zero, stress, stress, nothing, unknown, {})


def columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return next(csv.reader(file))


def test_a_learning_curve_is_the_mean_of_the_members_that_still_train():
    first, second = learning_curve(MEMBERS)
    assert (first["epoch"], first["train_loss"], first["valid_forces_mae"]) == (1, 3.0, 0.2)
    assert (second["epoch"], second["train_loss"], second["valid_loss"]) == (2, 2.0, None)
    assert learning_curve([]) == []
    assert [row["epoch"] for row in learning_curve([[{"epoch": 0, "train_loss": None}, *curve] for curve in MEMBERS])] == [0, 1, 2]


def test_the_distribution_of_errors_rises_from_the_smallest_to_the_largest():
    rows = error_distribution(comparison(10))
    assert (rows[0], rows[-1]) == ({"share": 0.0, "error": 0.0}, {"share": 100.0, "error": 10.0})
    at_75 = next(row["error"] for row in rows if row["share"] == 75.0)
    assert at_75 == pytest.approx(np.quantile([0.0] * 10 + list(range(1, 11)), 0.75))


def test_parity_holds_labelled_structures_and_no_more_of_them_than_the_eye_needs():
    assert parity_of_energies(comparison(3)) == [{"reference": 0.0, "prediction": 0.5}, {"reference": 0.5, "prediction": 1.0}]
    assert len(parity_of_energies(comparison(4000))) <= 500


def test_the_files_have_the_columns_that_dvc_draws_even_without_data(tmp_path: Path):
    write_tables(tmp_path / "reports" / "evaluation" / "curves", comparison(1), [])
    for plot in PLOTS.values():
        (file, y), x = next(iter(plot["y"].items())), plot["x"]
        assert {x, y} <= set(columns(tmp_path / file))


def test_the_curves_of_this_folder_are_drawn_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"found none in dvc\.yaml"):
        plots.main([])
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"plots": [{name: plot} for name, plot in PLOTS.items()]}))
    write_tables(tmp_path / "reports" / "evaluation" / "curves", comparison(9), MEMBERS)
    assert plots.main([]) == 0
    page = (tmp_path / "reports" / "plots.html").read_text()
    assert page.count("<figure>") == len(PLOTS) - 1  # no member knows its error of the energy
    assert "errors of the forces" in page
