"""A project with an ensemble and a sweep in its store, the dashboard that serves it, and a browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium
from dashboard_runs import JOBS, SWEEP, Store, ensemble, job

from nnpx.config import compose, instantiate
from nnpx.tracking import PARENT_VARIABLE, Tracker


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    workspace = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", PARENT_VARIABLE):
            patch.delenv(name, raising=False)
        tracker: Tracker = instantiate(compose().tracking, workspace=workspace)
        tracker.prepare()
        members = ensemble(tracker, workspace)
        with tracker.start(SWEEP, parent=None, tags={}) as parent:
            patch.setenv(PARENT_VARIABLE, parent.id)  # as the jobs of a sweep find it
            jobs = [job(tracker, name, 1.0 + 0.1 * number) for number, name in enumerate(JOBS)]
            patch.delenv(PARENT_VARIABLE)
        yield Store(workspace, tracker, members, parent.id, jobs)


@pytest.fixture(scope="session")
def dashboard(store: Store) -> Iterator[str]:
    """The address of `mlflow ui` on the loopback, started as the report tells the user."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command, cwd=store.workspace, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", server)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(180):
        assert server.poll() is None, "mlflow ui ended before it answered"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    pytest.fail("mlflow ui did not answer within three minutes")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path) as opened:
        yield opened
