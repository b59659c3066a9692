"""A folder in which a recorded training can run again: its code, its configuration, its data."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from omegaconf import OmegaConf

from nnpx.artifact import local
from nnpx.errors import ArtifactError, ConfigError, DataError
from nnpx.files import md5
from nnpx.lineage import CUT, REQUIREMENTS
from nnpx.provenance import code_fingerprint, git_environment
from nnpx.reproduction.recorded import Recorded
from nnpx.upstream import files_named

#: the reproduction is recorded as a whole, not by the training that it starts; at this address in every version of nnpx
UNTRACKED: Final = {"_target_": "nnpx.tracking.Silent"}
PREPARED: Final = Path("data/prepared")
#: the potential that it started from: beside the data, as DVC has to watch what a training reads
INITIAL: Final = PREPARED / "initial.nnpx"
INCOMPLETE: Final = "code: there were uncommitted changes, which were not recorded in full"
#: the command line, for several verbs with one start of Python; ends with the first that fails
RUN: Final = """
import sys
from nnpx import cli
for verb in sys.argv[1:]:
    sys.argv = ["nnpx", verb, "--params", "params.yaml"]
    if code := cli.main():
        raise SystemExit(code)
"""


@dataclass(frozen=True)
class Place:
    """Where a training runs again.

    Attributes:
        workspace: holds params.yaml and data/.
        code: what is first on Python's path; None for the installed nnpx.
        threads: of torch; 0 leaves it to the machine.
        notes: how it was made.
        differences: in what it is not what was recorded.
    """

    workspace: Path
    code: Path | None
    threads: int
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def run(self, *verbs: str) -> None:
        """Run verbs in the folder, in a process of their own.

        Raises:
            DataError: it failed; what it wrote to the terminal says why.
        """
        environment = dict(os.environ)
        if self.code is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(self.code), *filter(None, [environment.get("PYTHONPATH")])])
        if self.threads:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        environment.pop("DVC_ROOT", None)
        if code := subprocess.run([sys.executable, "-c", RUN, *verbs], cwd=self.workspace, env=environment, check=False).returncode:
            do = "Read what it said above."
            raise DataError(f"nnpx {', '.join(verbs)}", expected="to run as it did when it was recorded", found=f"exit code {code}", do=do)


def build(recorded: Recorded, project: Path, folder: Path) -> Place:
    """Check out the code, write the configuration; the data are for `provide_data`.

    Args:
        recorded: the training.
        project: the project folder.
        folder: where to build; what an earlier reproduction left there is removed.

    Raises:
        ConfigError: the recorded commit does not exist in this repository.
    """
    notes: list[str] = []
    differences: list[str] = []
    top = _git(project, "rev-parse", "--show-toplevel").strip()
    if top and (folder / ".git").exists():
        _git(project, "worktree", "remove", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    workspace = folder
    if recorded.commit == "none" or not top:
        where = "the run was recorded outside of git" if recorded.commit == "none" else "this project is not under git any more"
        notes.append(f"code: {where}")
        if not recorded.is_complete:
            differences.append(INCOMPLETE)
    else:
        _check_out(recorded, project, folder, notes, differences)
        workspace = folder / _git(project, "rev-parse", "--show-prefix").strip()
    workspace.mkdir(parents=True, exist_ok=True)
    initial = {"initial": INITIAL.as_posix()} if recorded.initial_md5 else {}
    config = {**recorded.config, "tracking": UNTRACKED, **initial}
    (workspace / "params.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
    text = "".join(f"{name}=={version}\n" for name, version in recorded.versions.items())
    (workspace / REQUIREMENTS).write_text(text, encoding="utf-8")
    code = folder if (folder / "nnpx" / "cli.py").is_file() else None
    notes.append(f"code: nnpx {'as in the commit' if code else 'as it is installed'}")
    if code is None and recorded.provenance.get("code", code_fingerprint()) != code_fingerprint():
        differences.append("code: the installed nnpx is not the one that was recorded, whatever its version says")
    return Place(workspace, code, recorded.threads, notes, differences)


def provide_data(recorded: Recorded, place: Place, project: Path) -> None:
    """The prepared data with the recorded hashes: the project's, else those of DVC, else made again from the configuration."""
    target = place.workspace / PREPARED
    ways: list[tuple[str, Callable[[], object]]] = [
        (f"{PREPARED} of the project has the recorded hashes", lambda: _copy(project / PREPARED, target)),
        ("fetched by DVC", lambda: _fetch(place.workspace, project)),
        ("labelled and prepared again", lambda: _make(recorded, place, project)),
    ]
    for name, way in ways:
        way()
        if fits(recorded, target):
            place.notes.append(f"data: {name}")
            return
    for part, told in recorded.data_md5.items():
        path = target / f"{part}.extxyz"
        found = md5(path) if path.is_file() else "no such file"
        if found != told:
            place.differences.append(f"data: {part}.extxyz has the hash {told} recorded, {found} now")


def provide_initial(recorded: Recorded, place: Place, project: Path) -> None:
    """The potential that the training started from: the copy that the run keeps, else the file of that name if it still is the one.

    Raises:
        ArtifactError: there is neither.
    """
    if not recorded.initial_md5:
        return
    name = str(recorded.config["initial"])
    source = recorded.initial or local(name, project)
    if not source.is_file() or md5(source) != recorded.initial_md5:
        expected = f"the potential that this training started from, with the hash {recorded.initial_md5}"
        do = "Name the run instead of the file: it keeps a copy (`nnpx reproduce RUN`)."
        raise ArtifactError(name, expected=expected, found="another" if source.is_file() else "no such file", do=do)
    shutil.copy(source, place.workspace / INITIAL)
    place.notes.append(f"initial: {name}, {'as the run keeps it' if recorded.initial else 'as it still is'}")


def fits(recorded: Recorded, prepared: Path) -> bool:
    """Whether a folder of prepared data is the one that the training read."""
    parts = {prepared / f"{part}.extxyz": told for part, told in recorded.data_md5.items()}
    card = prepared / "card.json"
    return bool(parts) and card.is_file() and all(path.is_file() and md5(path) == told for path, told in parts.items())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)


def _fetch(workspace: Path, project: Path) -> None:
    """What dvc.lock of the commit names, from the project's cache or its remotes; nothing where DVC does not know it."""
    if not (workspace / "dvc.lock").is_file():
        return
    shutil.rmtree(workspace / PREPARED, ignore_errors=True)
    local = project / ".dvc" / "config.local"
    if local.is_file():
        shutil.copy(local, workspace / ".dvc" / "config.local")
    cache = _dvc(project, "cache", "dir").strip() or str(project / ".dvc" / "cache")
    _dvc(workspace, "cache", "dir", "--local", str((project / cache).resolve()))
    _dvc(workspace, "fetch", "--quiet", str(PREPARED))
    _dvc(workspace, "checkout", "--quiet", "--force", str(PREPARED))


def _make(recorded: Recorded, place: Place, project: Path) -> None:
    """Label and prepare; files that the data configuration names are taken from the project where the commit has none."""
    for name in files_named(recorded.config.get("data"), project):
        if not name.is_absolute() and not (place.workspace / name).exists():
            (place.workspace / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, place.workspace / name)
    shutil.rmtree(place.workspace / PREPARED, ignore_errors=True)
    place.run("label", "prepare")


def _check_out(recorded: Recorded, project: Path, folder: Path, notes: list[str], differences: list[str]) -> None:
    commit = recorded.commit
    if not _git(project, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"):
        do = "Fetch it (`git fetch --all --tags`), or run this in the repository in which it was made."
        raise ConfigError(recorded.label, expected=f"its commit {commit[:12]} in this repository", found="no such commit", do=do)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _git(project, "worktree", "prune")
    _git(project, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--force", str(folder), commit)
    notes.append(f"code: commit {commit[:12]}")
    diff = recorded.diff or ""
    if CUT in diff[-200:] or (recorded.diff is None and not recorded.is_complete):
        differences.append(INCOMPLETE)
    elif diff:
        applied = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", "-"],
            cwd=folder,
            env=git_environment(),
            input=diff.encode(),
            capture_output=True,
            check=False,
        )
        if applied.returncode:
            differences.append(f"code: the recorded changes cannot be applied: {applied.stderr.decode(errors='replace').strip()[:200]}")
        else:
            notes.append(f"code: {len(diff.splitlines())} lines of uncommitted changes applied")


def _git(folder: Path, *arguments: str) -> str:
    """What git says; nothing where it fails."""
    return _output(["git", *arguments], folder)


def _dvc(folder: Path, *arguments: str) -> str:
    return _output([sys.executable, "-m", "dvc", *arguments], folder)


def _output(command: list[str], folder: Path) -> str:
    try:
        answer = subprocess.run(command, cwd=folder, env=git_environment(), capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return answer.stdout if answer.returncode == 0 else ""
