"""The data of a recorded training are found by their hash, wherever they are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnpx.files import md5
from nnpx.lineage import CUT, DIFF_LIMIT, limited, locked_hashes
from nnpx.provenance import git_diff, git_state
from nnpx.reproduction.place import INITIAL, PREPARED, Place, build, provide_data, provide_initial
from nnpx.reproduction.recorded import Recorded

MAKE = "import pathlib, sys; p = pathlib.Path('data/prepared'); p.mkdir(parents=True, exist_ok=True); "
MAKE += "[(p / f'{n}.extxyz').write_text(n + open('version').read()) for n in ('train', 'valid')]; (p / 'card.json').write_text('{}')"


def run(folder: Path, *words: str) -> None:
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("GIT_")}, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def git(folder: Path, *words: str) -> None:
    run(folder, "git", "-c", "user.name=n", "-c", "user.email=n@example.org", *words)


def recorded_now(project: Path) -> Recorded:
    hashes = {part: md5(project / "data" / "prepared" / f"{part}.extxyz") for part in ("train", "valid")}
    state = git_state(project)
    empty = {"config": {"name": "x"}, "versions": {}, "threads": 0, "metrics": {}, "potential": None, "last_epochs": []}
    return Recorded(label="run", key="run", provenance=state, data_md5=hashes, diff=git_diff(project), **empty)


def test_a_registered_start_is_fetched_again_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, place = tmp_path / "fetched.nnpx", Place(tmp_path / "place", None, 0)
    file.write_text("weights")
    (place.workspace / PREPARED).mkdir(parents=True)
    monkeypatch.setattr("nnpx.runs.registered_file", lambda address, project: {"models:/x/1": file}[address])
    nothing = {"provenance": {}, "data_md5": {}, "versions": {}, "diff": None, "threads": 0, "metrics": {}, "potential": None}
    recorded = Recorded(label="", key="", config={"initial": "models:/x/1"}, initial_md5=md5(file), last_epochs=[], **nothing)
    provide_initial(recorded, place, tmp_path)
    assert (place.workspace / INITIAL).read_text() == "weights"


@pytest.mark.slow
def test_data_that_the_project_has_changed_since_come_from_dvc(tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(MAKE)
    (tmp_path / "version").write_text("1")
    (tmp_path / ".gitignore").write_text(".nnpx/\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        f"  prepare: {{cmd: {sys.executable} make.py, deps: [version], outs: [data/prepared]}}\n"
        "  train: {cmd: 'true', deps: [data/prepared]}\n"
    )
    dvc = (sys.executable, "-m", "dvc")
    git(tmp_path, "init", "-q")
    run(tmp_path, *dvc, "init", "-q")
    run(tmp_path, *dvc, "repro", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    before = recorded_now(tmp_path)
    hashes = locked_hashes(tmp_path, "train")
    assert list(hashes) == ["data/prepared"]
    assert hashes["data/prepared"].endswith(".dir")
    (tmp_path / "version").write_text("2")
    run(tmp_path, *dvc, "repro", "-q")
    place = build(before, tmp_path, tmp_path / ".nnpx" / "reproduce" / "run")
    provide_data(before, place, tmp_path)
    assert "data: fetched by DVC" in place.notes
    assert (place.workspace / "data" / "prepared" / "train.extxyz").read_text() == "train1"
    assert (tmp_path / "data" / "prepared" / "train.extxyz").read_text() == "train2"


def test_a_diff_that_is_too_long_is_cut_and_says_so() -> None:
    line = "+" + "x" * 98 + "\n"
    assert limited(line * 10) == line * 10
    cut = limited(line * (DIFF_LIMIT // len(line) + 10))
    assert len(cut.encode()) < DIFF_LIMIT + 100
    assert cut.splitlines()[-1].startswith(CUT)
    assert set(cut.splitlines()[:-1]) == {line.rstrip()}


def test_a_diff_that_was_cut_is_a_difference_of_the_code(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    (tmp_path / "data" / "prepared").mkdir(parents=True)
    for part in ("train", "valid"):
        (tmp_path / "data" / "prepared" / f"{part}.extxyz").touch()
    known = recorded_now(tmp_path)
    folder = tmp_path / ".nnpx" / "reproduce" / "run"
    whole = build(known, tmp_path, folder)
    assert whole.differences == []
    cut = build(
        Recorded(**{**vars(known), "diff": f"+x\n{CUT}1 of 2 bytes are kept\n"}), tmp_path, tmp_path / ".nnpx" / "reproduce" / "run"
    )
    assert cut.differences == ["code: there were uncommitted changes, which were not recorded in full"]
    wrong = build(Recorded(**{**vars(known), "diff": "no patch\n"}), tmp_path, folder)
    assert wrong.differences[0].startswith("code: the recorded changes cannot be applied")
