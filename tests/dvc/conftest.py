"""One project that has been run once, and copies of it."""

import shutil
from pathlib import Path

import pytest
from projects import Project, new_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first `dvc repro`, committed. Not to be changed."""
    project = new_project(tmp_path_factory.mktemp("finished") / "project")
    project.run("dvc", "repro")
    project.commit("the first results")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts"))
    return Project(tmp_path / "project")
