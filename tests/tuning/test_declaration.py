"""What a search may say: everything wrong with it is told at once, before anything runs."""

from pathlib import Path

import pytest
import yaml

import nnpx
from nnpx.config import compose, problems_of
from nnpx.configuration.overrides import groups_in, parse
from nnpx.errors import ConfigError
from nnpx.tuning.checks import check_space, study_name
from nnpx.tuning.search import read_search
from nnpx.tuning.space import Choices, Interval, corners, overrides_of

CONF = Path(nnpx.__file__).parent.parent / "conf"
SHIPPED = groups_in([CONF])["tune"]


def errors(tune, *words):
    code, out, err = tune("parabola", *words)
    assert (code, out) == (2, "")
    return [line.removeprefix("error: ") for line in err.splitlines()]


def space(text):
    return f"tune.space={{{text}}}"


def test_every_bound_and_choice_is_checked_before_the_first_trial(tune, project):
    found = errors(
        tune,
        space(
            "optimizer.learning_rat: {low: 1e-4, high: 1e-2, type: float}, optimizer.beta1: {low: 0.5, high: 1.5, type: float}, "
            "trainer.batch_size: {low: 0, high: 8, type: int}, descriptor: {choices: [acsf, acfs]}"
        ),
    )
    text = "\n".join(found)
    assert len(found) == 4
    assert "Did you mean learning_rate?" in text
    assert "Did you mean acsf?" in text
    assert "found 1.5" in text
    assert "expected a whole number ≥ 1 or null, found 0" in text
    assert not (project / ".nnpx").exists()


@pytest.mark.parametrize(
    ("word", "where", "message"),
    [
        ("tune.n_trails=3", "tune.n_trails", "Did you mean n_trials?"),
        ("tune.n_trials=0", "tune.n_trials", "expected a whole number ≥ 1, found 0"),
        ("tune.storage=sqlit", "tune.storage", "Did you mean sqlite?"),
        ("tune.objectives={valid/force_mae: minimize}", "tune.objectives", "Did you mean valid/forces_mae?"),
        ("tune.objectives={}", "tune.objectives", "expected a mapping"),
        ("tune.sampler.seeds=1", "tune.sampler.seeds", "Did you mean seed?"),
        ("tune.space.optimizer.learning_rate.low=1", "tune.space.optimizer.learning_rate.low=1", "a space as a whole"),
        (space("seed: {low: 1, hihg: 2, type: int}"), "tune.space.seed.hihg", "Did you mean high?"),
        (space("seed: {low: 3, high: 2, type: int}"), "tune.space.seed", "expected low < high"),
        (space("seed: {low: 0, high: 2, type: int, log: true}"), "tune.space.seed", "expected low > 0"),
        (space("seed: {low: 0, high: 2.5, type: int}"), "tune.space.seed", "expected whole numbers"),
        (space("seed: {low: 0, high: 5, type: int, step: 2}"), "tune.space.seed", "expected a whole number of steps"),
        (space("seed: {choices: [1, 1]}"), "tune.space.seed", "expected choices that differ"),
        (space(""), "tune.space", "expected at least one override"),
        ("optimizer.learning_rate=0.1", "optimizer.learning_rate=0.1", "expected no value for what is searched"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(word, where, message, tune):
    (line,) = errors(tune, word)
    assert line.split(":")[0].split(" in ")[0] == where.split(":")[0]
    assert message in line


def test_the_cost_of_a_training_that_is_stopped_is_unknown(tune):
    pruner = "tune.pruner={_target_: nnpx.tuning.pruners.Median, n_startup_trials: 1, min_epochs: 1}"
    (line,) = errors(tune, pruner, "tune.objectives={us_per_atom: minimize}")
    assert line.startswith("tune.objectives: expected one objective with a learning curve")


def test_an_unknown_search_is_told_with_those_that_exist(project):
    with pytest.raises(ConfigError, match=r"expected an option of tune \(error_and_cost, .*\), found mien. Did you mean mine\?"):
        read_search(["tune=mien"], project / "conf", "none")


def test_a_search_cannot_name_a_class_outside(tune):
    (line,) = errors(tune, "tune.sampler={_target_: os.system, command: ls}")
    assert "expected a class below nnpx." in line


def test_a_search_cannot_read_the_machine(project):
    file = project / "conf" / "tune" / "mine.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: '${oc.env:SECRET}'"))
    with pytest.raises(ConfigError, match=r"sampler\.seed: expected a value that is the same on every machine, found \$\{oc\.env:SECRET\}"):
        read_search(["tune=mine"], project / "conf", "none")


def test_choices_that_contradict_each_other_are_found_at_the_corners(tune):
    """The cutoff of the shipped experiment is 5 Å."""
    (line,) = errors(tune, space("descriptor.angular_radius: {low: 4, high: 9, type: float}"))
    assert line.startswith("descriptor.angular_radius")


def test_corners_hold_every_end_of_every_dimension():
    dimensions = {"a": Interval(low=1.0, high=2.0, type="int"), "b": Choices(choices=["x", "y", "z"])}
    found = corners(dimensions)
    assert found[:2] == [{"a": 1, "b": "x"}, {"a": 2, "b": "z"}]
    assert {(key, value) for point in found for key, value in point.items()} == {("a", 1), ("a", 2), ("b", "x"), ("b", "y"), ("b", "z")}


@pytest.mark.parametrize("value", [None, True, 3, 0.1, 1e-17, 1 / 3, "acsf", "true", "it's", "a b", [64, 64], ["a", 1.5], {"x": 1}])
def test_a_choice_is_read_back_as_it_was_written(value):
    (word,) = overrides_of({"key": Choices(choices=[value]).ends()[0]})
    (override,) = parse([word])
    assert override.value() == value


@pytest.mark.parametrize("value", [1e-17, 1 / 3, 0.003, 7])
def test_a_number_keeps_all_its_digits(value):
    (override,) = parse(overrides_of({"key": value}))
    assert override.value() == value


@pytest.mark.parametrize("option", SHIPPED)
def test_a_shipped_search_is_valid_and_says_how_it_is_run(option):
    text = (CONF / "tune" / f"{option}.yaml").read_text()
    assert text.startswith("# ")
    (command,) = [line for line in text.splitlines()[:3] if "nnpx tune" in line]
    words = command.removeprefix("#").split()[2:]
    declared, overrides = read_search(words, None, "none")
    assert (declared.option, declared.node["_target_"]) == (option, yaml.safe_load(text)["_target_"])
    assert len(check_space(declared, overrides, None)) > 2


def test_the_name_of_a_study_follows_from_what_is_searched(project):
    def name(*words):
        declared, overrides = read_search(["tune=mine", *words], project / "conf", "none")
        return study_name(declared, [compose(overrides)], project)

    assert name().startswith("mine-quickstart-")
    assert name() == name("tune.n_trials=50", "tune.n_workers=3", "tracking=none")
    different = [name(), name("seed=1"), name("tune.sampler.seed=1"), name("tune.storage=sqlite"), name("network.hidden=[8]")]
    assert len(set(different)) == len(different)


def test_a_potential_that_was_replaced_is_another_start_and_another_study(project):
    declared, overrides = read_search(["tune=mine", "initial=first.nnpx"], project / "conf", "none")
    names = []
    for content in (b"one", b"another", b"one"):
        (project / "first.nnpx").write_bytes(content)
        names.append(study_name(declared, [compose(overrides)], project))
    assert names[0] == names[2] != names[1]


def test_a_group_of_ones_own_is_searched(tune, project):
    (project / "conf" / "network").mkdir()
    (project / "conf" / "network" / "tiny.yaml").write_text((CONF / "network" / "mlp.yaml").read_text())
    assert tune("parabola", "tune.n_trials=1", space("network: {choices: [tiny, mlp]}, optimizer.learning_rate: {choices: [0.1]}"))[0] == 0


def test_all_errors_of_a_search_are_joined(project):
    with pytest.raises(ConfigError) as caught:
        read_search(["tune=mine", "tune.n_trials=0", "tune.storage=x", "tune.wrong=1"], project / "conf", "none")
    assert len(problems_of(caught.value)) == 3
