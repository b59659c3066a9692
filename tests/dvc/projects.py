"""A project as a user has it, with an experiment so small that the whole pipeline takes seconds."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

ROOT = Path(__file__).parents[2]
PARTS = ("conf", "pipelines", "nnpx", "data/inputs", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml")
#: conf/experiment/tiny.yaml, the default of the project
TINY = """# @package _global_
# Sixteen copper cells, labelled by effective medium theory; one member, two epochs, 20 fs
defaults:
  - override /data: extxyz
  - override /reference: emt
  - override /ensemble: single
  - override /md: nve
  - override /descriptor: acsf_narrow
data: {path: data/inputs/copper.extxyz, level_of_theory: EMT}
cutoff: {radius: 4.0}
radial: {n_functions: 4}
descriptor: {angular_radius: 3.5, angular: {n_widths: 2, zetas: [1]}}
network: {hidden: [4]}
schedule: {warmup_steps: 1}
trainer: {max_epochs: 2}
md: {equilibration_ps: 0.005, duration_ps: 0.02, timestep_fs: 1.0, sample_every_fs: 1.0}
name: tiny
"""


@final
@dataclass(frozen=True)
class Project:
    """A clone under git and DVC; nnpx runs from its own code."""

    folder: Path

    def run(self, *words: str, expect: int | None = 0, **variables: str) -> str:
        """What a command says, output and errors; fails unless it exits as expected."""
        command = [str(Path(sys.executable).parent / words[0]) if words[0] in ("dvc", "nnpx") else words[0], *words[1:]]
        with tempfile.TemporaryFile() as said:  # no pipe: the workers of a queue would keep it open
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment(**variables), stdout=said, stderr=said, timeout=600, check=False
            )
            said.seek(0)
            text = said.read().decode()
        assert expect is None or done.returncode == expect, f"{' '.join(words)} exited {done.returncode}:\n{text}"
        return text

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a user with an identity and nothing else of their own."""
        foreign = ("DVC_", "GIT_", "MLFLOW_", "NNPX_", "AWS_")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        paths = [str(self.folder), *variables.pop("PYTHONPATH", "").split(os.pathsep)]
        return {
            **clean,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site-cache"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.folder.parent / "no-config"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": f"{who}@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
            "COLUMNS": "100",
            **variables,
        }

    def commit(self, message: str) -> None:
        """Everything that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


def new_project(folder: Path, n_structures: int = 16) -> Project:
    """A fresh clone whose default experiment is tiny; nothing has been run."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    root = folder / "conf" / "config.yaml"
    root.write_text(root.read_text().replace("- experiment: quickstart", "- experiment: tiny"))
    (folder / "conf" / "experiment" / "tiny.yaml").write_text(TINY)
    write_copper(folder / "data" / "inputs" / "copper.extxyz", n_structures)
    project = Project(folder)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("nnpx", "compose")
    project.commit("a new project")
    return project


def write_copper(path: Path, n_structures: int, first: int = 0) -> None:
    """Displaced cells of copper; those with the same number are the same."""
    structures = []
    for seed in range(first, n_structures):
        atoms = bulk("Cu", cubic=True) * (1, 1, 1)
        atoms.positions += 0.06 * np.random.default_rng(seed).standard_normal((len(atoms), 3))
        atoms.calc = EMT()
        found = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
        atoms.calc = SinglePointCalculator(atoms, **found)
        structures.append(atoms)
    write(path, structures)
