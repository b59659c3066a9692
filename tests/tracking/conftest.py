"""Fixtures of the tests of tracking."""

import shutil
from pathlib import Path

import pytest
from tracking.stores import tracker


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without runs; creating one takes seconds, copying it does not."""
    folder = tmp_path_factory.mktemp("store")
    tracker(folder).store.client.search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "NNPX_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path
