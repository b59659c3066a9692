"""A version of a data set, wherever it lies: a file, a prepared folder, a project, or a revision of this one under git and DVC."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from ase import Atoms

from nnpx.data.card import describe, remarks
from nnpx.data.duplicates import find_duplicates, identity
from nnpx.data.reader import Reading, read_all
from nnpx.data.source import NOT_STATED
from nnpx.data.split import PARTS
from nnpx.errors import DataError

LABELLED: Final = Path("data/labelled.extxyz")
LABELS: Final = Path("data/labels.json")
PREPARED: Final = Path("data/prepared")


@final
@dataclass(frozen=True)
class Version:
    """What a data set is at one time.

    Args:
        name: what the user called it.
        structures: with energy (eV), forces (eV/Å) and stress (eV/Å³).
        parts: train, valid, test or "left out" for each structure; all empty where nothing has been divided.
        isolated: energies (eV) of isolated atoms by element.
        card: as `nnpx.data.card` describes it.
    """

    name: str
    structures: list[Atoms]
    parts: list[str]
    isolated: dict[str, float]
    card: dict[str, Any]


def open_version(word: str, project: Path) -> Version:
    """The version that a word means.

    Args:
        word: a file; a folder that holds train.extxyz, valid.extxyz and test.extxyz; a project folder; a git revision or the name of a
            DVC experiment of this project, whose data/ is meant; or `REVISION:PATH`.
        project: the folder where words are looked up.

    Raises:
        DataError: there is no such thing, it has no data, or they cannot be read.
    """
    path = project / word
    if path.exists():
        return _read("this folder" if word == "." else word, path)
    revision, _, inside = word.partition(":")
    wanted = [Path(inside)] if inside else [LABELLED, LABELS, PREPARED]
    with checked_out(revision, wanted, project) as folder:
        return _read(word, folder / inside)


def _read(name: str, path: Path) -> Version:
    if path.is_file():
        reading = read_all(path)
        return Version(name, reading.structures, [""] * len(reading.structures), reading.isolated, _described(reading, path))
    if (path / f"{PARTS[0]}.extxyz").is_file():
        return _prepared(name, path)
    if (path / LABELLED).is_file():
        return _project(name, path)
    raise DataError(name, expected="a file, a prepared folder or a project with data", found="none of them", do="Name another version.")


def _prepared(name: str, folder: Path) -> Version:
    files = {part: folder / f"{part}.extxyz" for part in PARTS}
    found = {part: read_all(file).structures for part, file in files.items() if file.is_file() and file.stat().st_size}
    structures = [atoms for each in found.values() for atoms in each]
    card = _json(folder / "card.json")
    parts = [part for part, each in found.items() for _ in each]
    return Version(name, structures, parts, dict(card.get("isolated_atoms", {})), card or _card(found, {}))


def _project(name: str, folder: Path) -> Version:
    """Everything that is labelled, with the part that each structure has in data/prepared."""
    reading = read_all(folder / LABELLED)
    if not (folder / PREPARED / "card.json").is_file():
        card = {**_card({"all": reading.structures}, reading.isolated), **_stated(_json(folder / LABELS))}
        return Version(name, reading.structures, [""] * len(reading.structures), reading.isolated, card)
    divided = _prepared(name, folder / PREPARED)
    owner = {identity(atoms): part for atoms, part in zip(divided.structures, divided.parts, strict=True)}
    parts = [owner.get(identity(atoms), "left out") for atoms in reading.structures]
    return Version(name, reading.structures, parts, reading.isolated, divided.card)


def _described(reading: Reading, path: Path) -> dict[str, Any]:
    beside = path.parent / LABELS.name
    return {**_card({"all": reading.structures}, reading.isolated), **_stated(_json(beside) if path.name == LABELLED.name else {})}


def _card(parts: dict[str, list[Atoms]], isolated: dict[str, float]) -> dict[str, Any]:
    everything = [atoms for part in parts.values() for atoms in part]
    twins = find_duplicates(everything, tolerance=0.0)
    said = remarks(everything, twins)
    return {**describe(parts, {}, twins, isolated), "level_of_theory": NOT_STATED, "n_failed": 0, "n_left_out": 0, "remarks": said}


def _stated(labels: dict[str, Any]) -> dict[str, Any]:
    return {"level_of_theory": labels["level_of_theory"], "n_failed": len(labels["failures"])} if labels else {}


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


@contextmanager
def checked_out(revision: str, wanted: list[Path], project: Path) -> Iterator[Path]:
    """The files of a revision in a folder of their own, from git, from DVC's cache or from its remote."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    do = "Give a file, a folder, a git revision or a DVC experiment; `dvc fetch --all-commits` brings data that only the remote has."
    with TemporaryDirectory() as name:
        try:
            files = DVCFileSystem(str(project), rev=revision)
            present = files.repo and [path for path in wanted if files.exists(path.as_posix())]  # unknown revisions fail at `repo`
            for path in present:
                (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
                files.get(path.as_posix(), str(Path(name) / path), recursive=True)
        except (DvcException, OSError) as error:
            found = " ".join(str(error).split()) or type(error).__name__
            raise DataError(revision, expected="a version of the data", found=found, do=do) from error
        yield Path(name)
