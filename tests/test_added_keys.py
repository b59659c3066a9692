"""A key that the class takes may be given, though the YAML file of the option does not have it."""

import shlex

import pytest

from nnpx.config import compose, instantiate, validate
from nnpx.configuration.overrides import forced, parse
from nnpx.errors import ConfigError
from nnpx.sweep.grid import plan

BLOCKS = ("data=extxyz", "data.path=mine.xyz", "data.split._target_=nnpx.data.split.TimeBlocks")
MORSE = ("reference=ase", "reference.calculator=ase.calculators.morse.MorsePotential")


def test_a_key_of_a_class_that_was_chosen_by_its_path_needs_no_plus():
    config = compose([*BLOCKS, "data.split.gap=1"])
    validate(config)
    assert config.data.split.gap == 1
    assert compose([*BLOCKS, "+data.split.gap=1"]) == config


def test_a_key_that_the_class_does_not_take_is_refused():
    with pytest.raises(ConfigError, match=r"data\.split\.gp: expected one of the keys of TimeBlocks .*Did you mean gap\?"):
        compose([*BLOCKS, "data.split.gp=1"])


@pytest.mark.parametrize("words", [["reference.parameters={epsilon: 0.4}"], ["reference.parameters.epsilon=0.4"]])
def test_parameters_of_a_calculator_are_those_that_were_given_and_no_others(words):
    """Calculators of ASE take any keyword without a word: an example that stayed there would be another level of theory."""
    config = compose([*MORSE, *words])
    validate(config)
    assert dict(config.reference.parameters) == {"epsilon": 0.4}
    assert dict(compose(list(MORSE)).reference.parameters) == {}


@pytest.mark.parametrize(
    ("word", "do"),
    [
        (
            "data.split=ByGroup",
            "Write data.split._target_=nnpx.data.split.Random or nnpx.data.split.ByGroup or nnpx.data.split.TimeBlocks.",
        ),
        ("optimizer.weight_decay=much", "Change optimizer.weight_decay."),
        ("data.allow_missing=3", "Change data.allow_missing."),
    ],
)
def test_where_a_class_is_wanted_it_is_said_how_to_name_one(word, do):
    with pytest.raises(ConfigError) as caught:
        validate(compose(["data=extxyz", word]))
    assert str(caught.value).endswith(do)


@pytest.mark.parametrize("word", ["reference=ase", "executor=command"])
def test_a_value_that_has_to_be_given_is_asked_for_with_an_example_that_is_one(word):
    with pytest.raises(ConfigError, match=r"expected text, found nothing\. Give it as [\w.]+=…, for example ") as caught:
        validate(compose([word]))
    shown = shlex.split(str(caught.value).rpartition(", for example ")[2])
    assert shown[0] == word
    instantiate(compose(shown)[word.partition("=")[0]])


def test_an_override_that_takes_a_value_away_still_asks_for_that_value():
    with pytest.raises(ConfigError, match=r"0\.8 and not 5"):
        compose(["~descriptor.angular.r_min=5", "descriptor.angular.r_min=1.0"])


def test_hydra_is_given_such_keys_in_its_own_words():
    words = ["descriptor=acsf", *BLOCKS, "data.split.gap=1", "+data.split.n_test=3", "~md.seed", "hydra.sweep.dir=x"]
    assert forced(parse(words))[-4:] == ["++data.split.gap=1", "++data.split.n_test=3", "~md.seed", "hydra.sweep.dir=x"]


def test_what_only_the_user_can_give_can_be_asked_about(nnpx):
    code, said, _ = nnpx("config", "explain", "reference=ase")
    assert (code, "reference.calculator" in said) == (0, True)
    assert nnpx("config", "show", "reference=ase")[0] == 0
    assert nnpx("config", "validate", "reference=ase")[0] == 2


@pytest.mark.parametrize("what", ["job", "hydra"])
def test_hydra_shows_an_experiment_with_such_a_key(what, nnpx):
    code, said, _ = nnpx("train", "--cfg", what, *BLOCKS, "data.split.gap=1")
    assert (code, "gap" in said) == (0, True)


def test_a_sweep_over_such_a_key_is_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.xyz").write_text("1\n\nH 0 0 0\n")
    grid = plan("train", [*BLOCKS, "data.split.gap=1", "seed=0,1"], None)
    assert [job.config.data.split.gap for job in grid.jobs] == [1, 1]
