"""A key that the chosen options do not take is told where it belongs."""

from pathlib import Path

import pytest

from nnpx.configuration import resolvers
from nnpx.configuration.places import options_with

ADVICE = {
    "data.path=mine.extxyz": "path belongs to data=extxyz and data=unlabelled: choose one of them.",
    "data.level_of_theory=PBE0": "level_of_theory belongs to data=extxyz: choose it.",
    "data.strain=0.1": "strain belongs to data=silicon_xtb: choose it.",  # though data.stride is there, and almost the same word
    "data.keys.energy=E": "keys.energy belongs to data=extxyz: choose it.",
    "descriptor.angular.n_widths=3": "angular.n_widths belongs to descriptor=acsf_narrow: choose it.",
    "md=nve md.n_replicas=3": "n_replicas belongs to md=replicas: choose it.",
    "experiment=learn_demo ensemble=single": (
        "n_members belongs to ensemble=deep: choose it, or take out what experiment=learn_demo sets: '~ensemble.n_members'."
    ),
    "epochs=3": "Did you mean trainer.max_epochs or trainer.patience_epochs or learning.retrain_epochs?",
    "epoch=3": "Did you mean trainer.max_epochs or trainer.patience_epochs or learning.retrain_epochs?",
    "rate=3": "Did you mean optimizer.learning_rate?",
    "max_epochs=3": "Did you mean trainer.max_epochs?",
    "n=3": "Remove n.",  # which is part of too many
}


@pytest.mark.parametrize("words", ADVICE)
def test_a_key_is_told_where_it_belongs(nnpx, words):
    code, _, err = nnpx("config", "validate", *words.split())
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith(f" {ADVICE[words]}\n")


def test_what_is_taken_out_of_an_experiment_is_wanted_no_more(nnpx):
    assert nnpx("config", "validate", "experiment=learn_demo", "ensemble=single", "~ensemble.n_members")[0] == 0


def test_a_key_that_one_other_option_has_is_explained_at_once(nnpx):
    code, out, _ = nnpx("config", "explain", "data.level_of_theory")
    assert code == 0
    assert out.startswith("data.level_of_theory: of the labels, in words; null when nobody knows.\n")
    assert "data/extxyz.yaml:" in out


def test_a_key_that_several_options_have_or_the_chosen_one_lacks_is_not_guessed(nnpx):
    code, _, err = nnpx("config", "explain", "data.path")
    assert code == 2
    assert err.endswith("found one of data=extxyz, unlabelled. Say `nnpx config explain data.path data=extxyz`.\n")
    assert nnpx("config", "explain", "data.level_of_theory", "data=water_xtb")[0] == 2


def test_an_option_shows_its_own_keys_before_the_others(nnpx):
    lines = nnpx("config", "explain", "descriptor=acsf_narrow")[1].splitlines()
    rows = [next(number for number, line in enumerate(lines) if word in line) for word in ("descriptor.kind", "  options", "  see")]
    assert rows == sorted(rows)
    assert rows[0] < 6


def test_files_that_hold_each_other_or_no_list_are_only_read_through(tmp_path):
    for name, text in {"a": "defaults: [b]\nkey: 1\n", "b": "defaults: [a]\n", "c": "defaults: 3\n", "d": "[\n"}.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.yaml").write_text(text)
    assert options_with("data.key", [Path(resolvers.conf_dir()), tmp_path]) == ["a", "b"]
