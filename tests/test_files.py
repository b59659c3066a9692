"""A file is whole, or what it was before."""

from pathlib import Path

import pytest

from nnpx.files import to_disk, whole


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
