"""Fixtures that many tests share."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
import xdist
from enforcement import enforced
from labelled import unlabelled
from matplotlib.figure import Figure

jaxtyping.jaxtyped = enforced  # the hook of --jaxtyping-packages looks it up by this name

#: what takes long to import, in the order in which it is first needed
PACKAGES = (
    "torch_geometric",
    "beartype",
    "scipy.stats",
    "matplotlib.pyplot",
    "lightning_fabric",
    "mlflow",
    "optuna.importance",
    "ase.md.md",
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import before nnpx what all tests together need: what modules under the hook of jaxtyping import is compiled anew, each time."""
    if xdist.is_xdist_worker(session):
        for name in PACKAGES:
            importlib.import_module(name)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a test or the code that it runs sets in the environment is gone after it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True, scope="session")
def labelled_axes() -> Iterator[None]:
    """Whatever figure a test draws, every axis of it is labelled."""
    save = Figure.savefig

    def labelled(figure: Figure, *words: Any, **named: Any) -> None:
        assert unlabelled(figure) == []
        save(figure, *words, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", labelled)
        yield


@pytest.fixture
def generator() -> torch.Generator:
    """The source of all randomness in a test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; creating one takes seconds, copying it does not."""
    from tracking.stores import tracker

    folder = tmp_path_factory.mktemp("store")
    tracker(folder).store.client.search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with such a database."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "NNPX_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def nnpx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in an empty folder; returns exit code, output and errors."""
    from nnpx import cli

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nnpx", *words])
        return cli.main(), *capfd.readouterr()

    return run


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch has two threads meanwhile, however many the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
