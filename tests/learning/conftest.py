"""What the tests of the loop in this process share."""

import multiprocessing
from pathlib import Path

import pytest
from learning.loops import starts


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with start structures; workers are forked, which is quicker."""
    forking = multiprocessing.get_context("fork")
    monkeypatch.setattr("nnpx.executor.processes.multiprocessing.get_context", lambda method: forking)
    monkeypatch.setenv("NNPX_TRUSTED", "learning")
    starts(tmp_path)
    return tmp_path
