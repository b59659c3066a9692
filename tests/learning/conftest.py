"""What the tests of the loop in this process share."""

import shutil
from pathlib import Path

import pytest
from learning.loops import loop, set_up, starts


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with start structures."""
    set_up(monkeypatch, tmp_path)
    starts(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose loop has its first potential, but has not walked; no test changes it."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, folder)
        starts(folder)
        loop(folder, "learning.stopping.max_rounds=1")._begin()
    return folder


@pytest.fixture(scope="session")
def finished(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after two rounds that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(begun, folder)
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, folder)
        loop(folder).run(lambda rows: None)
    return folder


@pytest.fixture
def spoiled(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the begun project, to be spoiled."""
    folder = tmp_path / "project"
    shutil.copytree(begun, folder)
    set_up(monkeypatch, folder)
    return folder
