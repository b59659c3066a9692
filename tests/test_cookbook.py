"""The cookbook does what it says: its package obeys the laws, is trusted by the user and nobody else, and works in every mode."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from small import CONFIG, ethanols, graph_of, potential_for

import nnpx.testing
from nnpx import artifact, cli
from nnpx.config import instantiate
from nnpx.configuration.schema import parameters_of
from nnpx.configuration.signatures import subclasses
from nnpx.ensemble import Ensemble
from nnpx.errors import ArtifactError
from nnpx.testing import NETWORK_LAWS, verify
from nnpx.testing.nouns import NetworkCase

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w./]+)`[^`\n]*:\n\n```(?:python|yaml)\n(.*?)```", TEXT, flags=re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*)$", TEXT, flags=re.MULTILINE)
REFUSED = (
    "expected a class below nnpx. or one that you trust, found mine.lengths.Lengths. If the code is yours, say trusted=[mine] on the "
    'command line, or set NNPX_TRUSTED=mine for `dvc repro`, or call nnpx.trust(["mine"]) in Python; '
    "otherwise do not use this configuration."
)
OWN = ("--config-dir", "options", "descriptor=lengths")
TINY = ("experiment=small", "data.temperatures_K=[300]", "data.n_frames=20", "data.n_displaced=20", "trainer.max_epochs=1", "tracking=none")


def write_project(folder: Path) -> Path:
    """The files of the page."""
    for name, code in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    (folder / "mine" / "__init__.py").touch()
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The user's folder, in this process; what it trusted and imported is forgotten afterwards."""
    monkeypatch.chdir(write_project(tmp_path))
    monkeypatch.setenv("NNPX_TRUSTED", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


@pytest.fixture
def run(project, monkeypatch, capfd):
    """Runs the command; returns exit code and errors."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["nnpx", *words])
        return cli.main(), capfd.readouterr().err

    return call


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a terminal would do, with `nnpx` on the path and no package of the folder on it."""
    tools = folder / ".bin"
    tools.mkdir(exist_ok=True)
    (tools / "nnpx").write_text(
        f"#!{sys.executable}\nimport sys\nfrom nnpx.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    (tools / "nnpx").chmod(0o755)
    known = {"PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    environment = {**{k: v for k, v in os.environ.items() if k not in ("NNPX_TRUSTED", "DVC_ROOT")}, **known, **environment}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_page_has_every_file_that_it_lists():
    assert set(FILES) == {"mine/lengths.py", "options/descriptor/lengths.yaml", "options/experiment/small.yaml", "check.py"}
    body = FILES["mine/lengths.py"].partition("class ")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 22


def test_the_descriptor_of_the_page_obeys_the_laws(project):
    done = subprocess.run(
        [sys.executable, "check.py"], env={**os.environ, "PYTHONPATH": f"{ROOT}:{project}"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_own_class_is_built_when_its_package_is_named_on_the_command_line_only(run, project):
    assert run("check", *OWN) == (2, f"error: descriptor._target_ in options/descriptor/lengths.yaml: {REFUSED}\n")
    assert run("check", *OWN, "trusted=[mine]") == (0, "")


def test_a_file_cannot_trust(run, project):
    (project / "options" / "experiment" / "trusting.yaml").write_text("# @package _global_\ntrusted: [mine]\n")
    code, err = run("check", *OWN, "experiment=trusting")
    assert code == 2
    assert "error: trusted: expected one of the keys of an experiment" in err
    assert REFUSED in err


def test_a_package_is_found_in_a_folder_above_and_missed_in_words(run, project, monkeypatch):
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert run("check", "--config-dir", "../options", "descriptor=lengths", "trusted=[mine]") == (0, "")
    shutil.rmtree(project / "mine")
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]
    code, err = run("check", "--config-dir", "../options", "descriptor=lengths", "trusted=[mine]")
    assert code == 2
    assert f"expected the package mine, installed or in {project / 'below'} or above it, found neither. Run nnpx in the folder" in err


ROWS = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `\w+` \| `\w+` \|.*\|$", TEXT, flags=re.MULTILINE)]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_table_of_nouns_says_what_a_class_has_to_have(row):
    noun, base, methods, attributes, wired, laws = ([word for word in re.findall(r"`(\w+)`", cell)] for cell in row)
    kind = getattr(importlib.import_module(f"nnpx.{noun[0]}"), base[0])
    assert sorted(methods) == sorted(kind.__abstractmethods__)
    without_value = [name for name in vars(kind).get("__annotations__", {}) if name not in vars(kind)]
    assert sorted(attributes) == sorted(without_value)
    asked = {name for option in subclasses(kind) for name, taken in parameters_of(option).items() if taken.wired}
    assert asked <= set(wired)
    assert all(hasattr(nnpx.testing, name) for name in laws)


NETWORK = """
from typing import final

import torch
from torch import nn

from nnpx.network import Network
from nnpx.wiring import Wired


@final
class Sines(Network):
    def __init__(
        self, *, width: int, n_features: Wired[int], n_channels: Wired[int], n_outputs: Wired[int], generator: Wired[torch.Generator]
    ) -> None:
        super().__init__()
        self.first = nn.Parameter(0.1 * torch.randn(n_features + n_channels, width, generator=generator, dtype=torch.float64))
        self.last = nn.Parameter(0.1 * torch.randn(width, n_outputs, generator=generator, dtype=torch.float64))

    def last_layer_features(self, geometry, chemistry, species):
        return torch.sin(torch.cat([geometry, chemistry], 1) @ self.first)

    def forward(self, geometry, chemistry, species):
        return self.last_layer_features(geometry, chemistry, species) @ self.last
"""


def test_a_network_of_ones_own_written_from_the_table_obeys_the_laws(run, project):
    (project / "mine" / "sines.py").write_text(NETWORK)
    (project / "options" / "network").mkdir()
    (project / "options" / "network" / "sines.yaml").write_text("# Sines of the features\n_target_: mine.sines.Sines\nwidth: 8\n")
    own = ("--config-dir", "options", *TINY, "network=sines", "trusted=[mine]")
    code, err = run("check", *own)
    assert (code, err) == (0, ""), err
    sizes = {"n_features": 4, "n_channels": 2, "n_species": 3, "n_outputs": 1, "generator": torch.Generator().manual_seed(0)}
    network = instantiate({"_target_": "mine.sines.Sines", "width": 8}, **sizes)
    verify(NetworkCase(network, n_features=4, n_channels=2, n_species=3), NETWORK_LAWS)


@pytest.mark.slow
def test_the_stages_of_dvc_trust_what_the_users_environment_names(project):
    (project / "dvc.yaml").write_text("stages:\n  check:\n    cmd: nnpx check --params params.yaml\n    params: [descriptor]\n")
    assert shell("nnpx compose --config-dir options descriptor=lengths 'trusted=[mine]'", project).returncode == 0
    assert "mine.lengths.Lengths" in (project / "params.yaml").read_text()
    assert "trusted" not in OmegaConf.load(project / "params.yaml")
    shell("dvc init --no-scm -q", project)
    refused = shell("dvc repro", project)
    assert refused.returncode != 0
    assert f"error: descriptor._target_: {REFUSED}" in refused.stderr
    done = shell("NNPX_TRUSTED=mine dvc repro", project)
    assert done.returncode == 0, done.stderr
    assert "the experiment is valid" in done.stdout


def test_a_potential_of_an_own_class_is_loaded_by_who_trusts_it(project, monkeypatch):
    config = {**CONFIG, "descriptor": {"_target_": "mine.lengths.Lengths"}}
    monkeypatch.setenv("NNPX_TRUSTED", "mine")
    atoms = ethanols(2)
    potential = potential_for(graph_of(atoms), config=config)
    artifact.save(Path("own.nnpx"), Ensemble([potential]), config=config, card={}, provenance={}, training={})
    monkeypatch.setenv("NNPX_TRUSTED", "")
    for door in (nnpx.load, nnpx.Calculator):
        with pytest.raises(ArtifactError) as refused:
            door("own.nnpx")
        assert str(refused.value).startswith(f"own.nnpx: {REFUSED.rstrip('.')}; never load")
    nnpx.trust(["mine"])
    atoms[0].calc = nnpx.Calculator("own.nnpx")
    with torch.no_grad():
        energy = potential(graph_of(atoms[:1])).energy.item()
    assert atoms[0].get_potential_energy() == pytest.approx(energy, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_trusts_and_finds_the_package_in_its_workers(tmp_path, launcher):
    write_project(tmp_path)
    words = f"--config-dir options {' '.join(TINY)} descriptor=acsf,lengths 'trusted=[mine]' hydra/launcher={launcher} hydra.sweep.dir=all"
    done = shell(f"nnpx train -m {words}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "all" / job / "models" / "potential.nnpx").is_file() for job in "01")


@pytest.mark.slow
def test_every_verb_takes_an_own_descriptor(tmp_path):
    write_project(tmp_path)
    words = f"--config-dir options {' '.join(TINY)} descriptor=lengths 'trusted=[mine]'"
    short = "md=nve md.duration_ps=0.01 md.equilibration_ps=0.002 md.temperature_K=100"  # one epoch does not hold a molecule for long
    for command in ("train", "evaluate", f"simulate {short}"):
        done = shell(f"nnpx {command} {words} ensemble=deep ensemble.n_members=2", tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads((tmp_path / "reports" / "evaluation" / "metrics.json").read_text())
    assert (tmp_path / "reports" / "simulation" / "metrics.json").is_file()


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    write_project(tmp_path)
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        done = shell(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "meV/atom" in done.stdout
