"""The shell completes what conf/ holds: a line goes in, candidates come out; so do the shells that are installed when TAB is pressed."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnpx import cli
from nnpx.completion import candidates
from nnpx.config import compose
from nnpx.configuration import resolvers
from nnpx.configuration.interpolations import keys_of
from nnpx.configuration.option_files import groups_in

CONF = resolvers.conf_dir()
VERBS, COMMANDS = ["label", "train", "evaluate"], ["config", "completion"]


def complete(line: str) -> list[str]:
    return candidates(line, VERBS, COMMANDS, CONF)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nnpx tr", ["train"]),
        ("nnpx ", [*VERBS, *COMMANDS]),
        ("nnpx --v", ["--version"]),
        ("nnpx completion ", ["bash", "zsh", "fish"]),
        ("nnpx config ", ["show", "validate", "diff", "schema", "explain"]),
        ("nnpx config explain optimizer.le", ["optimizer.learning_rate="]),
        ("nnpx train descriptor=", [f"descriptor={option}" for option in groups_in([CONF])["descriptor"]]),
        ("nnpx train op", ["optimizer=", "optimizer."]),
        ("nnpx train optimizer.le", ["optimizer.learning_rate="]),
        ("nnpx train ++optimizer.le", ["++optimizer.learning_rate="]),
        ("nnpx train ~optimizer.le", ["~optimizer.learning_rate"]),
        ("nnpx train data.sp", ["data.split."]),
        ("nnpx train data.split.n_t", ["data.split.n_train=", "data.split.n_test="]),
        ("nnpx train -m descriptor=acsf,acsf_n", ["descriptor=acsf,acsf_narrow"]),
        ("nnpx train -m data.allow_missing=true,", ["data.allow_missing=true,false"]),
        ("nnpx train data.allow_missing=", ["data.allow_missing=true", "data.allow_missing=false"]),
        ("nnpx train descriptor.kind=", ["descriptor.kind=narrow", "descriptor.kind=wide"]),
        ("nnpx train radial.recipe=gastegger_c", ["radial.recipe=gastegger_centred"]),
        ("nnpx train --mu", ["--multirun"]),
        ("nnpx train --cfg j", ["job"]),
        ("nnpx train --params ", []),
        ("nnpx train optimizer.learning_rate=", []),
        ("nnpx nonsense ", []),
        ("nnpx train seed=1 see", ["seed="]),
    ],
)
def test_a_line_has_these_candidates(line, expected):
    assert complete(line) == expected


def test_after_a_comma_the_options_that_are_left_come_again():
    assert set(complete("nnpx train -m descriptor=acsf,")) == {
        f"descriptor=acsf,{option}" for option in groups_in([CONF])["descriptor"] if option != "acsf"
    }


def test_keys_are_those_of_the_options_that_the_line_chooses():
    assert "descriptor.angular.r_min=" in complete("nnpx train descriptor.angular.")
    assert complete("nnpx train descriptor=acsf_narrow descriptor.angular.n_") == ["descriptor.angular.n_widths="]
    both = complete("nnpx train -m descriptor=acsf,acsf_narrow descriptor.angular.n_")
    assert sorted(both) == ["descriptor.angular.n_shells=", "descriptor.angular.n_widths="]
    # an experiment chooses too
    assert complete("nnpx train experiment=behler_parrinello descriptor.angular.n_") == ["descriptor.angular.n_widths="]


def test_every_key_of_the_composed_experiment_is_completed_from_its_beginning():
    """Hydra's own composition is the truth that the light one is measured against."""
    config = compose()
    for key in keys_of(config):
        if key != "conf_hash" and "_target_" not in key:
            found = complete(f"nnpx train {key}")
            assert f"{key}=" in found or f"{key}." in found, key


def test_a_composed_file_completes_its_own_keys_and_no_groups(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("composed.yaml").write_text(json.dumps({"seed": 1, "network": {"hidden": [1]}}))
    assert complete("nnpx train --params composed.yaml ") == ["seed=", "network."]
    assert complete("nnpx train --params composed.yaml network.") == ["network.hidden="]


def test_options_and_choices_of_the_users_own_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine/descriptor").mkdir(parents=True)
    Path("mine/descriptor/short.yaml").write_text("_target_: mypackage.short.Short\nform: round\n")
    Path("mypackage").mkdir()
    text = 'raise RuntimeError("imported")\nclass Short:\n    def __init__(self, *, form: Literal["round", "square"] | None) -> None: ...\n'
    Path("mypackage/short.py").write_text(text)
    assert complete("nnpx train --config-dir mine descriptor=sh") == ["descriptor=short"]
    assert complete("nnpx train --config-dir mine descriptor=short descriptor.f") == ["descriptor.form="]
    values = [f"descriptor.form={value}" for value in ("round", "square", "null")]
    assert complete("nnpx train --config-dir mine descriptor=short descriptor.form=") == values


def test_a_broken_file_completes_to_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine/descriptor").mkdir(parents=True)
    Path("mine/descriptor/broken.yaml").write_text("a: [\n")
    assert complete("nnpx train --config-dir mine descriptor=broken descriptor.") == []
    assert complete("nnpx train --config-dir nowhere op") == ["optimizer=", "optimizer."]


def test_completing_imports_nothing_that_takes_time():
    script = (
        "import sys; sys.argv = ['nnpx', 'completion', 'line', 'nnpx train radial.recipe=']; from nnpx.cli import main; main(); "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "radial.recipe=gastegger_centred" in done.stdout.split()
    assert not {"torch", "numpy", "hydra", "omegaconf", "pydantic", "ase", "rich"} & set(done.stderr.split())


@pytest.mark.parametrize("words", [(), ("tcsh",), ("bash", "zsh")])
def test_another_shell_is_refused(words, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["nnpx", "completion", *words])
    assert cli.main() == 2
    assert capfd.readouterr().err.startswith("error: nnpx completion: expected a shell (bash, zsh, fish), found ")


@pytest.fixture
def shell_environment(tmp_path):
    """A PATH with `nnpx` on it, and a home without anybody's settings."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nnpx"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m nnpx.cli "$@"\n')
    program.chmod(0o755)
    root = str(Path(cli.__file__).parent.parent)
    path = f"{folder}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": root, "HOME": str(tmp_path), "TERM": "dumb", "LANG": "C.UTF-8", "PS1": "$ "}


def type_into(command: list[str], environment: dict[str, str], setup: str, typed: str, wanted: str) -> str:
    """What a terminal shows after something was typed into an interactive shell."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(shutil.which(command[0]) or command[0], command, environment)
    shown = b""

    def read_until(text: str, seconds: float) -> bool:
        nonlocal shown
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:
                    return False
            if text.encode() in shown.replace(b"\a", b""):
                return True
        return False

    try:
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        read_until("ready", 20)
        shown = b""
        os.write(terminal, typed.encode())
        read_until(wanted, 20)
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)
    return shown.decode(errors="replace").replace("\a", "")


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(nnpx completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'eval "$(nnpx completion zsh)"'),
}


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("nnpx train optimizer.le\t", "optimizer.learning_rate="),
        ("nnpx train descriptor=acsf_n\t", "descriptor=acsf_narrow"),
        ("nnpx train -m descriptor=acsf,acsf_n\t", "descriptor=acsf,acsf_narrow"),
        ("nnpx eval\t", "evaluate"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_in(shell, typed, wanted, shell_environment):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command, setup = SHELLS[shell]
    assert wanted in type_into(command, shell_environment, setup, typed, wanted)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(shell_environment):
    script = 'nnpx completion fish | source; complete -C "nnpx train optimizer.le"; complete -C "nnpx train -m descriptor=acsf,acsf_n"'
    done = subprocess.run(["fish", "-N", "-c", script], capture_output=True, text=True, check=True, env=shell_environment)
    assert done.stdout.split() == ["optimizer.learning_rate=", "descriptor=acsf,acsf_narrow"]
