"""A loop meets a full disk, and goes on as if nothing had happened when there is space again."""

from pathlib import Path

import pytest
from learning.loops import command, full_disk, go_on

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
