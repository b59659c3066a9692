"""Where a result comes from: commit, versions, processor, command. No host names, no users' folders."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

#: the packages whose versions can change a number
PACKAGES: Final = (
    "nnpx",
    "torch",
    "torch-geometric",
    "numpy",
    "numba",
    "llvmlite",
    "scipy",
    "ase",
    "tblite",
    "hydra-core",
    "dvc",
    "mlflow",
)

#: files that decide a result even before they are added to git
CODE: Final = ("*.py", "*.yaml")


def provenance(workspace: Path) -> dict[str, str]:
    """What is needed to repeat a run, as flat text.

    Args:
        workspace: the project folder; its git commit is recorded.
    """
    record = {"python": platform.python_version()}
    record.update({name: installed for name in PACKAGES if (installed := version(name)) != "none"})
    record["platform"] = f"{platform.system()} {platform.machine()}"
    record["cpu"] = cpu_name()
    record["command"] = start_command(workspace)
    return {**record, **git_state(workspace)}


def git_state(workspace: Path) -> dict[str, str]:
    """The commit of the workspace and whether tracked files differ from it; both "none" outside of git."""
    commit = _git(workspace, "rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": "none", "git_dirty": "none"}
    changes = _git(workspace, "status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_dirty": "yes" if changes else "no"}


def git_diff(workspace: Path) -> str:
    """What the files of the repository differ in from its commit, as a patch: tracked files, and code and options not yet added."""
    top = _git(workspace, "rev-parse", "--show-toplevel")
    if not top:
        return ""
    root = Path(top)
    new = (_git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE) or "").split("\0")
    tracked = _git_patch(root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff")
    return tracked + "".join(_git_patch(root, "diff", "--no-index", "--no-color", "--", os.devnull, name) for name in new if name)


def requirements() -> dict[str, str]:
    """The version of every installed package, as `pip freeze` lists them."""
    found = {str(one.metadata["Name"]).lower().replace("_", "-"): one.version for one in metadata.distributions() if one.metadata["Name"]}
    return dict(sorted(found.items()))


def cpu_name() -> str:
    """The processor's model as its maker calls it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def start_command(workspace: Path) -> str:
    """The command line, with every absolute path written relative to the workspace or cut to its last part."""
    program = Path(sys.argv[0]).name or "python"
    return " ".join([program, *(_without_folders(word, workspace) for word in sys.argv[1:])])


def _without_folders(word: str, workspace: Path) -> str:
    key, equals, value = word.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return word
    inside = path.is_relative_to(workspace.resolve())
    return f"{key}{equals}{path.relative_to(workspace.resolve()) if inside else path.name}"


def version(package: str) -> str:
    """The installed version of a package; "none" where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def code_fingerprint() -> str:
    """Twelve hexadecimal digits that change with any line of nnpx's code."""
    digest, package = hashlib.sha256(), Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _git(workspace: Path, *arguments: str) -> str | None:
    answer = _git_answer(workspace, *arguments)
    return None if answer is None or answer.returncode else answer.stdout.strip()


def _git_patch(root: Path, *arguments: str) -> str:
    """The answer of `git diff`, which says by its exit code whether there is a difference."""
    answer = _git_answer(root, *arguments)
    return answer.stdout if answer is not None else ""


def _git_answer(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=git_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None


def git_environment() -> dict[str, str]:
    """The environment without GIT_DIR and its like, which hooks set and which would point git at another repository."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
