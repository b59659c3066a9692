"""A file is whole, or what it was before."""

import os
from pathlib import Path

import pytest
import torch

from nnpx.files import JsonLines, to_disk, whole, write_text


def test_a_file_takes_its_place_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "weights"
    with whole(path) as file:
        file.write(b"new")
        to_disk(file)
        assert not path.exists()
    assert [one.name for one in path.parent.iterdir()] == ["weights"]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_the_file_as_it_was(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")

    def fail() -> None:
        with whole(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert [one.name for one in tmp_path.iterdir()] == ["weights"]
    assert path.read_bytes() == b"old"


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".weights.writing").write_bytes(b"much longer than the new content")
    with whole(tmp_path / "weights") as file:
        file.write(b"new")
    assert (tmp_path / "weights").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_names_the_file_that_it_did_not_take(tmp_path: Path) -> None:
    """/dev/full takes nothing; the system does not say which file was written."""
    (tmp_path / ".weights.writing").symlink_to("/dev/full")
    (tmp_path / f".text.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*/weights'"), whole(tmp_path / "weights") as file:
        file.write(b"new")
    (tmp_path / ".weights.writing").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*/weights'"), whole(tmp_path / "weights") as file:
        torch.save(torch.ones(10000), file)
    with pytest.raises(OSError, match=r"No space left on device.*/text'"):
        write_text(tmp_path / "text", "new")
    assert list(tmp_path.iterdir()) == []


def test_lines_that_do_not_reach_the_disk_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    lines = JsonLines(tmp_path / "journal.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr("nnpx.files.os.fsync", full)
        with pytest.raises(OSError, match=r"No space left on device.*journal\.jsonl"):
            lines.add([{"n": 1}, {"n": 2}])
    lines.add([{"n": 3}])
    assert list(lines.read()) == [{"n": 3}]


@pytest.mark.parametrize("lost", range(1, 12))
def test_a_line_that_was_cut_short_is_as_if_never_written(lost: int, tmp_path: Path) -> None:
    """However much of it was written: what follows stands on a line of its own."""
    lines = JsonLines(tmp_path / "folder" / "journal.jsonl")
    assert list(lines.read()) == []
    lines.add([{"n": 1}, {"n": 2}])
    whole_size = lines.path.stat().st_size
    lines.add([{"n": 3, "m": 4}])
    content = lines.path.read_bytes()
    lines.path.write_bytes(content[: max(whole_size, len(content) - lost)])
    expected = [{"n": 1}, {"n": 2}, *([{"n": 3, "m": 4}] if lost == 1 else [])]  # whole without the end of its line
    assert list(lines.read()) == expected
    lines.add([{"n": 5}])
    assert lines.read_bytes() == ([*expected, {"n": 5}], lines.path.stat().st_size)
