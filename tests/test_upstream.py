"""What a verb is told before it runs, and what is kept from it while another one runs."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from nnpx import upstream
from nnpx.config import compose
from nnpx.errors import ConfigError, DataError

OWN = ["data=extxyz", "data.path=mine.extxyz"]


@pytest.mark.parametrize("verb", ["check", "train"])
def test_a_file_that_is_not_there_is_told_before_anything_runs(verb: str, tmp_path: Path) -> None:
    write(tmp_path / "mine.xyz", bulk("Cu"))
    with pytest.raises(DataError, match=r"mine.extxyz: expected a file, found nothing of that name. .* Files there: mine.xyz"):
        upstream.check_choices(verb, compose(OWN), tmp_path)
    write(tmp_path / "mine.extxyz", bulk("Cu"))
    upstream.check_choices(verb, compose(OWN), tmp_path)


def test_the_same_file_is_the_same_in_every_folder_that_borrows_it(tmp_path: Path) -> None:
    """A trial must not label again what the project has, and write through the link to its data."""
    write(tmp_path / "mine.extxyz", bulk("Cu"))
    (tmp_path / "job").mkdir()
    for name in ("mine.extxyz", str(tmp_path / "mine.extxyz")):
        config = compose(["data=extxyz", f"data.path={name}"])
        upstream.link_files(config, tmp_path, tmp_path / "job")
        assert upstream.inputs_of(config, tmp_path / "job") == upstream.inputs_of(config, tmp_path) != {}


def test_files_of_a_pattern_are_borrowed_and_watched_one_by_one(tmp_path: Path) -> None:
    config = compose(["data=extxyz", "data.path=runs/*/out.xyz"])
    with pytest.raises(DataError, match=r"runs/\*/out.xyz: expected a file, found nothing of that name"):
        upstream.check_choices("train", config, tmp_path)
    for run in ("1", "2"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        write(tmp_path / "runs" / run / "out.xyz", bulk("Cu"))
    upstream.check_choices("train", config, tmp_path)
    upstream.link_files(config, tmp_path, tmp_path / "job")
    there = upstream.inputs_of(config, tmp_path)
    assert list(there) == ["runs/1/out.xyz", "runs/2/out.xyz"]
    assert upstream.inputs_of(config, tmp_path / "job") == there
    (tmp_path / "runs" / "3").mkdir()
    write(tmp_path / "runs" / "3" / "out.xyz", bulk("Al"))
    assert upstream.inputs_of(config, tmp_path) != there


def test_one_verb_at_a_time_works_with_the_data_of_a_folder(tmp_path: Path) -> None:
    with upstream.alone_if_with_data("train", tmp_path):
        for other in ("label", "prepare", "train"):
            with pytest.raises(ConfigError, match="no other command on the data of this folder"):
                upstream.alone_if_with_data(other, tmp_path).__enter__()
        with upstream.alone_if_with_data("evaluate", tmp_path):
            pass
    with upstream.alone_if_with_data("train", tmp_path):
        pass


def test_what_cannot_be_repeated_waits_for_the_data_and_says_so(tmp_path: Path) -> None:
    """A loop that ends after hours while something trains on the data that it is about to replace."""
    waits, done = threading.Event(), threading.Event()

    def conclude() -> None:
        with upstream.alone_with_data(tmp_path, waits.set):
            done.set()

    with upstream.alone_if_with_data("train", tmp_path):
        other = threading.Thread(target=conclude, daemon=True)
        other.start()
        assert waits.wait(30)
        assert not done.is_set()
    assert done.wait(30)


def test_dvc_is_not_asked_to_work_with_files_that_it_does_not_watch(tmp_path: Path) -> None:
    upstream.check_watched("label", compose(OWN), tmp_path)  # without DVC
    (tmp_path / "dvc.yaml").write_text("stages: {label: {cmd: x, deps: [data/inputs, other.extxyz]}}\n")
    with pytest.raises(ConfigError, match=r"mine.extxyz: expected a file that DVC watches, such as those in data/inputs/"):
        upstream.check_watched("label", compose(OWN), tmp_path)
    for name in ("data/inputs/mine.extxyz", "other.extxyz", "data/../other.extxyz"):
        upstream.check_watched("label", compose(["data=extxyz", f"data.path={name}"]), tmp_path)


def test_a_batch_system_that_ends_the_command_lets_it_close_what_is_open() -> None:
    code = """
import os, signal, time
from contextlib import ExitStack
from nnpx import cli

def wait(arguments):
    with ExitStack() as stack:
        stack.callback(print, "closed", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

cli._dispatch = wait
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (143, "closed\n")
