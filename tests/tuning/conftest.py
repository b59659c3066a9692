"""A project in which `nnpx tune` runs trainings that take no time."""

import sys

import pytest
import tuning_stubs

from nnpx import cli
from nnpx.tuning.search import read_search
from nnpx.tuning.store import open_study

SEARCH = """# A search for one learning rate
_target_: nnpx.tuning.search.Search
space:
  optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true, type: float}
objectives: {valid/forces_mae: minimize}
sampler: {_target_: nnpx.tuning.samplers.TPE, seed: 0, n_startup_trials: 5, n_candidates: 24}
pruner: null
n_trials: 6
timeout_s: null
n_workers: 1
storage: journal
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with options of its own: `tune=mine` is a small search."""
    (tmp_path / "conf" / "tune").mkdir(parents=True)
    (tmp_path / "conf" / "tune" / "mine.yaml").write_text(SEARCH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def tune(project, monkeypatch, capfd):
    """Runs `nnpx tune tune=mine` with trainings of `tuning_stubs`; returns exit code, output and errors."""

    def run(stub, *words):
        with monkeypatch.context() as patch:
            tuning_stubs.use(stub, patch)
            patch.setattr(sys, "argv", ["nnpx", "tune", "--config-dir", "conf", "tune=mine", "tracking=none", *words])
            code = cli.main()
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def studies(project):
    """Opens the studies of the project, oldest first."""

    def find(*words):
        search = read_search(["tune=mine", *words], project / "conf", "mine")[0].search
        folders = sorted((project / ".nnpx" / "tune").iterdir(), key=lambda folder: folder.stat().st_ctime)
        return [open_study(folder, search) for folder in folders]

    return find
