"""A loop meets a full disk or an engine that misbehaves: it goes on without what failed, or where it was when that is mended."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from learning.engines import name_of
from learning.loops import command, commits, full_disk, go_on, loop, under_versions

from nnpx.errors import WorkspaceError
from nnpx.learning import dataset

ONE = "learning.stopping.max_rounds=1"


@pytest.fixture
def project(spoiled: Path) -> Path:
    """A loop that has its first potential, but has not walked."""
    return spoiled


def repeated(project: Path) -> int:
    """Calculations that had been done before."""
    calls = (project / "count").read_text().splitlines()
    return len(calls) - len(set(calls))


#: part of the name of a file, which time it is written, what is calculated again: a label of which the disk did not take the line
PLACES = [
    ("calls.jsonl", 3, 1),
    ("labels.json", 1, 0),
    ("journal.jsonl", 1, 0),
    ("journal.jsonl", 3, 0),
    ("dataset.extxyz", 1, 0),
    (".checkpoint", 3, 0),
    ("potential.nnpx", 1, 0),
]


@pytest.mark.parametrize(("name", "count", "again"), PLACES)
def test_a_full_disk_is_one_clear_error_and_nothing_finished_is_lost(
    name: str, count: int, again: int, project: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with monkeypatch.context() as patch:
        full_disk(patch, name, count)
        assert command(project, patch, ONE) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert name in line
    assert "No space left on device" in line
    assert "Free some space and run the same command again" in line
    before = repeated(finished)
    go_on(project, finished, rounds=1)
    assert repeated(project) == before + again


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock"])
def test_a_lock_that_a_killed_git_left_is_named_and_the_same_command_goes_on_without_it(
    lock: str, project: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may belong to a git that is alive: it is left alone."""
    under_versions(project)
    path = project / ".git" / lock
    path.touch()
    capfd.readouterr()
    with monkeypatch.context() as patch:
        assert command(project, patch, ONE) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: expected no other git at work here, found its lock: one is still running, or was killed.")
    assert "remove the file if no git is running; then run the same command again" in line
    assert path.exists()
    path.unlink()
    go_on(project, finished, rounds=1)
    assert commits(project).count("Learn: data of round 1") == 1
    assert repeated(project) == repeated(finished)


def test_a_file_that_a_hook_complains_of_is_no_lock_of_git(project: Path) -> None:
    under_versions(project)
    hook = project / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho \"the file 'poetry.lock' is out of date\" >&2; exit 1\n")
    hook.chmod(0o755)
    one = loop(project, ONE)
    with pytest.raises(WorkspaceError, match=r"the file 'poetry\.lock' is out of date") as raised:
        dataset.write_version(one.place(0).data, project, "data")
    assert "remove" not in str(raised.value)


#: what goes wrong with one calculation, and what is said of it
FAULTS = [
    ("hang", "no answer of the reference engine within 3 s"),
    ("crash", "the process of the reference engine died"),
    ("raise", "did not converge"),
    ("nan", "nan or infinity"),
    ("turned", "torque"),
    ("drift", "sum"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_loop_goes_on_without_a_structure_for_which_the_engine_fails(
    fault: str, reason: str, project: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of the selected structures, whose label is not examined; those of the others are what they would have been."""
    healthy = read(finished / "learn/round_01/labelled.extxyz", ":")
    monkeypatch.setenv("NNPX_TEST_FAULT", f"{fault}:{name_of(healthy[1])}")
    rows, verdict = loop(project, ONE, "learning.timeout_s=3.0").run(lambda rows: None)
    here = project / "learn/round_01"
    (failure,) = json.loads((here / "labels.json").read_text())["failures"]
    assert failure["name"] == "structure 1"
    assert reason in failure["reason"]
    rest = [*healthy[:1], *healthy[2:]]
    for found, expected in zip(read(here / "labelled.extxyz", ":"), rest, strict=True):
        np.testing.assert_array_equal(found.positions, expected.positions)
        np.testing.assert_array_equal(found.get_forces(), expected.get_forces())
    assert (rows[0]["n_failed"], rows[0]["n_labelled"]) == (1, len(rest))
    assert verdict.startswith("spent")


@pytest.mark.parametrize(("fault", "reason"), [("sign", "slope"), ("unit", "slope"), ("nan", "nan or infinity")])
def test_a_loop_whose_engine_is_wrong_for_all_ends_before_it_learns_and_goes_on_when_it_is_mended(
    fault: str, reason: str, project: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setenv("NNPX_TEST_FAULT", f"{fault}:")
        assert command(project, patch, ONE) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: counted: expected a label that can be learned from")
    assert reason in line
    assert not (project / "learn/round_01/labelled.extxyz").exists()
    go_on(project, finished, rounds=1)
