"""The wheel carries what it needs: a peer once released without its YAML files."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def nnpx(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command line from a folder that is not the project's."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", "from nnpx.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_every_option_and_pipeline_of_the_project_is_inside(installed):
    for folder in ("conf", "pipelines"):
        shipped = {path.relative_to(installed / "nnpx" / folder) for path in (installed / "nnpx" / folder).rglob("*") if path.is_file()}
        own = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert own <= shipped


def test_it_composes_from_another_folder(installed, tmp_path):
    result = nnpx(installed, tmp_path, "train", "--cfg", "job", "network.hidden=[7]")
    assert result.returncode == 0, result.stderr
    assert "hidden:\n  - 7" in result.stdout


def test_it_prepares_a_file_from_another_folder(installed, tmp_path):
    from ase.io import write
    from small import ethanols

    write(tmp_path / "mine.extxyz", ethanols(30))
    result = nnpx(installed, tmp_path, "prepare", "data=extxyz", "data.path=mine.extxyz")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data" / "prepared" / "card.json").is_file()
    assert "energy from results['energy'] in 30 of 30 structures" in result.stdout
