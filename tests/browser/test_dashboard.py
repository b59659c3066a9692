"""Somebody who opens the dashboard sees the ensemble, its members, their curves and the comparison of runs."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnpx.tracking import MLflow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
    "--virtual-time-budget=20000",
]
MEMBERS = ("ethanol, member 0", "ethanol, member 1")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: run `make test-browser`"),
]


@pytest.fixture(autouse=True)
def no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store with an ensemble of two members, and the ids of parent and members."""
    workspace = tmp_path_factory.mktemp("project")
    patch = pytest.MonkeyPatch()
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        patch.delenv(name, raising=False)
    tracker = MLflow(uri=None, experiment="nnpx", flush_every_s=5.0, retry_every_s=60.0, timeout_s=5, workspace=workspace)
    tracker.prepare()
    (workspace / "potential.nnpx").write_bytes(b"weights")
    ids = []
    with tracker.start("ethanol", parent=None, tags={"seed": "0"}) as parent:
        parent.log_params({"descriptor": {"cutoff": 6.0}})
        ids.append(parent.id)
        for number, name in enumerate(MEMBERS):
            with tracker.start(name, parent=parent.id, tags={"ensemble_member": str(number)}) as member:
                member.log_params({"seed": number, "network": {"hidden": [64, 64]}})
                for epoch in range(1, 21):
                    member.log_metrics({"train_loss": 1.0 / epoch, "valid_forces_mae": (1 + number) / epoch}, step=epoch)
                ids.append(member.id)
        parent.log_model(workspace / "potential.nnpx", name="ethanol", alias="candidate")
    patch.undo()
    return workspace, ids


@pytest.fixture(scope="module")
def dashboard(project: tuple[Path, list[str]]) -> Iterator[str]:
    """The address of `mlflow ui` on the loopback, started as the report tells the user."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command, cwd=project[0], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
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


def browse(address: str, folder: Path, name: str) -> str:
    """The page as the browser sees it after its scripts ran; a picture of it is left in the folder."""
    own = [*FLAGS, f"--user-data-dir={folder / 'profile'}"]
    subprocess.run([CHROMIUM, *own, f"--screenshot={folder / name}.png", address], capture_output=True, timeout=180, check=True)
    return subprocess.run([CHROMIUM, *own, "--dump-dom", address], capture_output=True, text=True, timeout=180, check=True).stdout


def test_the_experiment_page_lists_the_ensemble(project: tuple[Path, list[str]], dashboard: str, tmp_path: Path) -> None:
    address = MLflow(uri=None, experiment="nnpx", flush_every_s=5.0, retry_every_s=60.0, timeout_s=5, workspace=project[0]).dashboard()[1]
    page = browse(address.replace("http://127.0.0.1:5000", dashboard), tmp_path, "experiment")
    assert "ethanol" in page
    assert (tmp_path / "experiment.png").stat().st_size > 10_000


def test_the_page_of_a_run_shows_its_parameters_and_metrics(project: tuple[Path, list[str]], dashboard: str, tmp_path: Path) -> None:
    page = browse(f"{dashboard}/#/experiments/1/runs/{project[1][1]}", tmp_path, "run")
    assert MEMBERS[0] in page
    assert "network.hidden" in page
    assert "valid_forces_mae" in page


def test_the_comparison_page_shows_both_members(project: tuple[Path, list[str]], dashboard: str, tmp_path: Path) -> None:
    runs = urllib.parse.quote(json.dumps(project[1][1:]))
    experiments = urllib.parse.quote(json.dumps(["1"]))
    page = browse(f"{dashboard}/#/compare-runs?runs={runs}&experiments={experiments}", tmp_path, "comparison")
    for member in MEMBERS:
        assert member in page
    assert "valid_forces_mae" in page
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
