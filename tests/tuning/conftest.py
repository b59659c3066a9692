"""A project in which `nnpx tune` runs trainings that take no time."""

import sys

import pytest
import tuning_stubs

from nnpx import cli
from nnpx.tuning import run, worker
from nnpx.tuning.crew import search_in_processes
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


def _in_this_process(order, study, look):
    worker.search(order)


def _tune(monkeypatch, capfd, stub, words, crew):
    with monkeypatch.context() as patch:
        tuning_stubs.use(stub, patch)
        patch.setattr(run, "search_in_processes", crew)
        tracking = [] if any(word.startswith("tracking") for word in words) else ["tracking=none"]
        patch.setattr(sys, "argv", ["nnpx", "tune", "--config-dir", "conf", "tune=mine", *tracking, *words])
        code = cli.main()
    return code, *capfd.readouterr()


@pytest.fixture
def tune(project, monkeypatch, capfd):
    """Runs `nnpx tune tune=mine` with trainings of `tuning_stubs`, in this process; returns exit code, output and errors."""
    return lambda stub, *words: _tune(monkeypatch, capfd, stub, words, _in_this_process)


@pytest.fixture
def tune_in_processes(project, monkeypatch, capfd):
    """The same as users have it, in processes."""
    return lambda stub, *words: _tune(monkeypatch, capfd, stub, words, search_in_processes)


@pytest.fixture
def studies(project):
    """Opens the studies of the project, oldest first."""

    def find(*words):
        search = read_search(["tune=mine", *words], project / "conf", "mine")[0].search
        folders = sorted((project / ".nnpx" / "tune").iterdir(), key=lambda folder: folder.stat().st_ctime)
        return [open_study(folder, search) for folder in folders]

    return find
