"""What a first mistake is answered with."""

from pathlib import Path

import pytest
from rich.console import Console

from nnpx.progress import Bars
from nnpx.trainer.progress import watcher
from nnpx.trainer.state import Epoch


def test_a_key_of_another_option_names_the_options_that_have_it(nnpx):
    code, _, said = nnpx("check", "data.path=mine.extxyz")
    assert code == 2
    assert said.endswith("found path. path belongs to data=extxyz and data=unlabelled: choose one of them.\n")


def test_an_experiment_without_its_first_line_is_told_which(nnpx):
    own = Path("options/experiment/small.yaml")
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\n# mine\ndefaults:\n  - override /ensemble: single\nname: small\n")
    assert nnpx("check", "--config-dir", "options", "experiment=small")[0] == 0
    own.write_text("# mine\n# @package _global_\ndefaults:\n  - override /ensemble: single\nname: small\n")
    code, _, said = nnpx("check", "--config-dir", "options", "experiment=small")
    assert (code, "found it in line 2, where Hydra does not look" in said) == (2, True)


def test_completion_has_help(nnpx):
    code, said, _ = nnpx("completion", "--help")
    assert (code, said.startswith("Prints the completion for a shell")) == (0, True)


@pytest.mark.parametrize(
    ("forces", "said"), [(0.0123, "epoch 1  E 1.50 meV/atom  F 12.3 meV/Å"), (float("nan"), "epoch 1  E 1.50 meV/atom")]
)
def test_the_progress_of_a_training_without_forces_says_nothing_of_them(forces, said):
    bars = Bars(Console(quiet=True), "train")
    watcher(bars, 1, 10)(0, Epoch(1, 8, 1e-3, 0.1, 0.1, 0.0015, forces, float("nan")), 0)
    assert bars.tasks[0].fields["said"] == said
