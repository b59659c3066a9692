"""A project with an nnpx of its own: the real code and the real conf/, with verbs that only write down what they were asked to do.

The command runs in a process of its own, so that every launcher's workers see the same.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

VERB = '''"""Does {verb}."""
import json
import os
import signal
import time
from pathlib import Path
from nnpx.files import md5
from nnpx.upstream import STAMPS, inputs_of, stamp

PROJECT = Path({project!r})


def main(config, workspace):
    with (PROJECT / "calls").open("a") as calls:
        calls.write(f"{verb} {{config.seed}} {{os.getpid()}}\\n")
    if "{verb}" in STAMPS:
        made = workspace / STAMPS["{verb}"]
        made.parent.mkdir(parents=True, exist_ok=True)
        if "{verb}" == "label":
            (workspace / "data" / "labelled.extxyz").write_text(str(config.seed))
        labelled = md5(workspace / "data" / "labelled.extxyz")
        made_of = {{"inputs": inputs_of(config, workspace), "source_md5": labelled}}
        made.write_text(json.dumps({{"config": stamp("{verb}", config), "md5": {{"train": str(config.seed)}}, **made_of}}))
        return
    assert (workspace / "data" / "labelled.extxyz").read_text() == str(config.seed)
    HOOK
    error = 0.01 * (1 + config.seed) * (2 if config.network._target_.endswith("MLP") else 1)
    errors = {{"valid/energy_per_atom_mae": error / 10, "valid/forces_mae": error}}
    outcome = {{**errors, "us_per_atom": 1.0, "n_parameters": 8.0, "train_wall_s": 0.1}}
    (workspace / "models").mkdir(exist_ok=True)
    told = {{"outcome": outcome, "max_epochs": config.trainer.max_epochs, "choices": os.environ.get("NNPX_CHOICES", "")}}
    (workspace / "models" / "training.json").write_text(json.dumps(told))
'''


class Project:
    """The project and its command."""

    def __init__(self, folder: Path, site: Path, environment: dict[str, str]) -> None:
        self.folder, self.site, self.environment = folder, site, environment

    def hook(self, code: str) -> None:
        """What a training does; `config`, `workspace` and `PROJECT` are at hand."""
        for verb in ("label", "prepare", "train"):
            text = VERB.format(verb=verb, project=str(self.folder)).replace("HOOK", code if verb == "train" else "pass")
            (self.site / "pipelines" / f"{verb}.py").write_text(text)

    def start(self, *words: str) -> subprocess.Popen:
        """The command in a process of its own."""
        command = [sys.executable, "-m", "nnpx.cli", *words]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        process = self.start(*words)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def sweep(self, *words: str) -> tuple[int, str, str]:
        """A sweep of trainings without tracking."""
        return self.run("train", "-m", "tracking=none", *words)

    def calls(self) -> list[str]:
        """The verbs that have run since the last look, with their seeds, in order."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return [line.rpartition(" ")[0] for line in lines]

    def only(self) -> Path:
        """The folder of the only sweep."""
        (found,) = (self.folder / "multirun").iterdir()
        return found

    def told(self, number: int) -> dict:
        """What a training wrote."""
        return json.loads((self.only() / str(number) / "models" / "training.json").read_text())


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of nnpx with its conf/."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("nnpx", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def project(site: Path, tmp_path: Path) -> Callable:
    """A project in an empty folder; its conf/ is its own."""
    own = tmp_path / "site"
    own.mkdir()
    shutil.copytree(site / "conf", own / "conf")
    shutil.copytree(site / "nnpx", own / "nnpx")
    (own / "pipelines").mkdir()
    folder = tmp_path / "project"
    folder.mkdir()
    path = os.pathsep.join(filter(None, (str(own), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "DVC_ROOT": str(folder), "OMP_NUM_THREADS": "1"}
    made = Project(folder, own, environment)
    made.hook("pass")
    return made
