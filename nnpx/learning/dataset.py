"""The data of every round: three parts and their card, as `nnpx prepare` writes them, and one file of all that the loop has labelled."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ase import Atoms

from nnpx.data.card import describe, remarks
from nnpx.data.duplicates import find_duplicates
from nnpx.data.frames import write
from nnpx.data.reader import read
from nnpx.data.split import GIVEN, PARTS
from nnpx.errors import WorkspaceError
from nnpx.files import read_json, whole, write_json

#: the file in the project that grows with every round, and is versioned
LEARNED: Final = Path("learn/dataset.extxyz")
#: a lock that git could not get, in what it says in whatever language: that of its index, of HEAD or of a branch
_LOCK: Final = re.compile(r"'([^'\n]+\.lock)'")


def files_of(folder: Path) -> list[Path]:
    """The files of a prepared data set."""
    return [*(folder / f"{name}.extxyz" for name in PARTS), folder / "card.json"]


def copy(source: Path, target: Path) -> None:
    """The same data set in another folder, file by file."""
    for path in files_of(source):
        with path.open("rb") as original, whole(target / path.name) as file:
            shutil.copyfileobj(original, file)


def parts_of(folder: Path) -> dict[str, list[Atoms]]:
    """The structures of every part; of an empty file, none."""
    return {path.stem: read(path) if path.stat().st_size else [] for path in files_of(folder)[:-1]}


def grow(
    before: Path,
    after: Path,
    *,
    train: Sequence[Atoms],
    valid: Sequence[Atoms],
    isolated: Mapping[str, float],
    n_start: int,
    n_valid: int,
    near_duplicate: float,
) -> None:
    """A data set with more structures to train on and to validate with. What has validated for long enough is trained on.

    Its card has no longer the stamp of the experiment: `nnpx prepare` would not make it, and does not take it for its own.

    Args:
        before: the prepared folder that is added to; it stays as it is.
        after: the prepared folder that is written.
        train: labelled structures that were chosen.
        valid: labelled structures that were drawn without choosing.
        n_start: structures that validated at the start, which stay: somebody may have set them aside.
        n_valid: how many of the drawn ones validate: the newest.
        isolated: energies (eV) of isolated atoms of elements that are new.
        near_duplicate: see `nnpx.data.source.Source`.
    """
    parts, old = parts_of(before), read_json(before / "card.json")
    drawn = [*parts["valid"][n_start:], *valid]
    n_older = max(len(drawn) - n_valid, 0)
    parts = {
        "train": [*parts["train"], *train, *drawn[:n_older]],
        "valid": [*parts["valid"][:n_start], *drawn[n_older:]],
        "test": parts["test"],
    }
    files = {name: after / f"{name}.extxyz" for name in PARTS}
    for name, path in files.items():
        write(path, parts[name])
    everything = [atoms for name in PARTS for atoms in parts[name]]
    duplicates = find_duplicates(everything, tolerance=near_duplicate)
    card = describe(parts, files, duplicates, {**old["isolated_atoms"], **isolated})
    kept: Mapping[str, Any] = {key: old[key] for key in ("level_of_theory", "n_failed", "n_left_out") if key in old}
    write_json(after / "card.json", {**kept, **card, "remarks": remarks(everything, duplicates)})


def write_version(folder: Path, project: Path, message: str) -> None:
    """All structures of a round as one file of the project and, where the project is under DVC, as a new version of it.

    `dvc add` puts the file into DVC's cache; git commits the checksum that DVC writes beside it, and nothing else. Done again, it changes
    nothing.

    Args:
        folder: the prepared data of a round.
        project: the folder that holds learn/.
        message: of the commit.

    Raises:
        WorkspaceError: DVC or git refuses, or a git that runs or was killed holds its lock, which nobody else may take away.
    """
    structures = []
    for name, part in parts_of(folder).items():
        for atoms in part:
            atoms.info[GIVEN] = name
            structures.append(atoms)
    write(project / LEARNED, structures)
    if not (project / ".dvc").is_dir():
        return
    _call(project, sys.executable, "-m", "dvc", "add", "--quiet", str(LEARNED))
    pointers = [f"{LEARNED}.dvc"]
    if (project / LEARNED.parent / ".gitignore").is_file():  # DVC writes none where git ignores the file anyway
        pointers.append(f"{LEARNED.parent}/.gitignore")
    if not _succeeds(project, "git", "rev-parse", "--is-inside-work-tree"):
        return
    _call(project, "git", "add", "--force", "--", *pointers)
    if not _succeeds(project, "git", "diff", "--cached", "--quiet", "--", *pointers):
        _call(project, "git", "commit", "--quiet", "--message", message, "--", *pointers)


def _call(project: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        found, do = (done.stderr or done.stdout).strip()[-400:], "Mend what it says and run the same command again."
        found = found or f"exit code {done.returncode}"
        if (lock := _LOCK.search(done.stderr)) and _is_of_git(project, lock[1]):
            expected, found = "no other git at work here", "its lock: one is still running, or was killed"
            do = "Wait for it, or remove the file if no git is running; then run the same command again: it goes on."
            raise WorkspaceError(lock[1], expected=expected, found=found, do=do)
        name = " ".join(word for word in command[:4] if word not in (sys.executable, "-m"))
        raise WorkspaceError(name, expected="a new version of the data", found=found, do=do)


def _is_of_git(project: Path, lock: str) -> bool:
    """Whether a lock lies where git keeps its own: hooks complain of other files that end so."""
    asked = subprocess.run(("git", "rev-parse", "--absolute-git-dir"), cwd=project, capture_output=True, text=True, check=False)
    return not asked.returncode and (project / lock).resolve().is_relative_to(Path(asked.stdout.strip()).resolve())


def _succeeds(project: Path, *command: str) -> bool:
    return subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 0
