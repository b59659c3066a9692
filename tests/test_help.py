"""Help fits a screen, tells everything, and imports nothing heavy; what is printed may be cut off."""

import os
import subprocess
import sys

import pytest

from nnpx import cli
from nnpx.commands import commands
from nnpx.configuration import resolvers
from nnpx.configuration.schema import NOUNS
from nnpx.verbs import verbs


@pytest.fixture
def screen(monkeypatch, capsys):
    """What the shipped help prints, if it fits a screen of 24 lines of 100 characters."""

    def show(*words):
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["nnpx", *words])
        assert cli.main() == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24
        assert max(len(line) for line in lines) <= 100
        return lines

    return show


def test_help_shows_every_verb_and_command_on_one_screen(screen):
    assert {*verbs(), *commands()} <= {line.split()[0] for line in screen("--help")}


@pytest.mark.parametrize("verb", ["train", "compose"])
def test_the_help_of_a_verb_shows_every_group_and_option_on_one_screen(verb, screen):
    said = " ".join(screen(verb, "--help")).replace(",", " ").split()
    options = {path.stem for group in (*NOUNS, "experiment") for path in resolvers.conf_dir().glob(f"{group}/*.yaml")}
    assert {*NOUNS, "experiment", *options} <= set(said)


def test_help_and_version_import_nothing_heavy():
    script = "import sys; sys.argv = ['nnpx', sys.argv[1]]; from nnpx.cli import main; main(); sys.stderr.write(' '.join(sys.modules))"
    for flag in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", script, flag], capture_output=True, text=True, check=True)
        assert not {"torch", "mlflow", "ase", "numpy", "hydra", "pydantic"} & set(done.stderr.split())


def test_output_that_nobody_reads_any_more_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does when it has seen enough
    command = [sys.executable, "-m", "nnpx.cli", "config", "show"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
