"""Files that are none, or not whole, are told by name and place."""

import shutil
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from nnpx.data import frames
from nnpx.data.files import open_all, open_structures
from nnpx.data.reader import read, read_all
from nnpx.errors import DataError
from nnpx.files import WRITES, files_of


def labelled(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    atoms.get_stress()
    atoms.get_forces()
    return atoms


def test_unknown_file(tmp_path: Path) -> None:
    (tmp_path / "other.extxyz").touch()
    with pytest.raises(DataError, match=r"found nothing of that name.*other\.extxyz"):
        read(tmp_path / "a.extxyz")


def test_a_name_that_is_nearly_right_is_answered_with_the_nearest(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "frames.xyz"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=r"nothing of that name.*Files there: frames.xyz\.$"):
        open_structures(tmp_path / "frame.xyz")


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "frames.xyz").write_text("")
    with pytest.raises(DataError, match=r"found a folder.*frames.xyz"):
        open_structures(tmp_path)


def test_an_element_that_there_is_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "frames.xyz").write_text("1\n\nQq 0 0 0\n")
    with pytest.raises(DataError, match=r"Qq.*an element that there is not"):
        open_structures(tmp_path / "frames.xyz")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder whose own name looks like a pattern, beside one that this pattern would stand for."""
    for name, seed in {"p[1]/b/frames.traj": 2, "p[1]/a/frames.extxyz": 0, "p[1]/c/other.extxyz": 3, "p1/a/frames.extxyz": 9}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        write(tmp_path / name, [labelled(seed), labelled(seed + 1)] if seed == 0 else labelled(seed))
    return tmp_path / "p[1]"


def test_a_pattern_is_all_of_its_files_by_name(project: Path) -> None:
    found = open_all("*/frames.*", project)
    assert [atoms.positions[0, 0] for atoms in found] == pytest.approx([labelled(seed).positions[0, 0] for seed in range(3)], abs=1e-8)
    assert len(read_all(Path("a/frames.extxyz"), folder=project).structures) == 2
    assert len(read(project / "a/frames.extxyz")) == 2


def test_no_pattern_stands_for_what_nnpx_has_written(project: Path) -> None:
    there = files_of("**/*.extxyz", project)
    for name in ("multirun/a/0/a/frames.extxyz", "data/labelled.extxyz", "data/prepared/train.extxyz", "learn/dataset.extxyz"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / "a/frames.extxyz", project / name)
    assert files_of("**/*.extxyz", project) == there == [Path("a/frames.extxyz"), Path("c/other.extxyz")]
    (project / "data/inputs").mkdir()
    shutil.copy(project / "a/frames.extxyz", project / "data/inputs/mine.extxyz")
    assert files_of("data/*/*.extxyz", project) == [Path("data/inputs/mine.extxyz")]


@pytest.mark.parametrize("place", sorted({place for places in WRITES.values() for place in places}))
def test_no_pattern_stands_for_what_a_verb_writes(place: str, project: Path) -> None:
    path = project / place if Path(place).suffix else project / place / "inner" / "frames.extxyz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    pattern = str(path.relative_to(project).with_name("*"))
    assert files_of(pattern, project) == [Path(pattern)]


def test_structures_of_a_pattern_are_called_by_it(project: Path) -> None:
    bad = labelled(1)
    bad.calc.results["forces"] = bad.calc.results["forces"][:2]
    write(project / "b/frames.traj", bad)
    with pytest.raises(DataError, match=r"structure 2 of \*/frames\.\*: expected numbers with the shape of forces"):
        read_all(Path("*/frames.*"), folder=project)


def test_a_pattern_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"runs/\*/OUTCAR: expected a file, found nothing of that name"):
        open_all("runs/*/OUTCAR", tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.extxyz").touch()
    with pytest.raises(DataError, match="found an empty file"):
        read(tmp_path / "a.extxyz")


def test_unknown_format(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(b"\x00\x01\x02 nothing")
    with pytest.raises(DataError, match="expected a format that ASE reads"):
        read(tmp_path / "a.docx")


@pytest.mark.parametrize("cut", [5, 60], ids=["in the last line", "between lines"])
def test_truncated_extxyz_names_the_frame(tmp_path: Path, cut: int) -> None:
    text = frames.text(labelled(0)) + frames.text(labelled(1)).rstrip("\n")
    lines = text.splitlines()
    damaged = "\n".join(lines[:-1]) if cut == 60 else text[: text.rindex(" ")]
    (tmp_path / "a.extxyz").write_text(damaged)
    with pytest.raises(DataError, match=r"frame 1 of .*a\.extxyz \(line 7\): expected 4 atoms"):
        read(tmp_path / "a.extxyz")


def test_a_file_that_ends_within_a_number_is_told_from_one_without_its_last_line_end(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    write(path, labelled(0), format="extxyz")  # in columns
    complete = path.read_text().rstrip("\n")
    path.write_text(complete)
    assert len(open_structures(path)) == 1
    path.write_text(complete[:-1])
    with pytest.raises(DataError, match=r"frame 0 of .*a.xyz \(line 6\): expected a line as long as the others"):
        open_structures(path)


@pytest.mark.parametrize(
    "lines",
    [
        ["H 0 0 0.741", "H 0 0 0"],
        ["O 0.0 0.0 0.119", "H 0.0 0.763 -0.477", "H 0.0 -0.763 0.0"],
        ["O 0.0 0.0 0.119262", "H 0.0 0.763239 -0.477047", "H 0.0 -0.763239 1e-05"],
        ["O 0.000 0.000 0.119 ", "H 0.000 0.763 0.477 ", "H 0.000 0.763 0.7 "],
        ["O 0.0 0.0 0.1 O.co2", "C 0.0 0.0 1.3 C.2", "H 0.0 0.0 2.4 H"],
    ],
)
def test_numbers_that_are_written_as_they_come_are_complete(lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("\n".join([str(len(lines)), "", *lines]))
    assert len(open_structures(tmp_path / "a.xyz")[0]) == len(lines)


def test_blank_line_between_frames_is_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.extxyz").write_text(frames.text(labelled(0)) + "\n" + frames.text(labelled(1)))
    with pytest.raises(DataError, match="a blank line between frames"):
        read(tmp_path / "a.extxyz")


def test_damaged_binary_file(tmp_path: Path) -> None:
    write(tmp_path / "a.traj", [labelled(0), labelled(1)])
    content = (tmp_path / "a.traj").read_bytes()
    (tmp_path / "a.traj").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="a complete file of the format traj"):
        read(tmp_path / "a.traj")
