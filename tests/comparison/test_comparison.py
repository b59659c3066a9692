"""The statistics of a comparison against numbers worked out by hand and by brute force; its forms; what differs between runs."""

import itertools
import json
import math
import random
import statistics
from dataclasses import replace

import pytest

from nnpx import cli
from nnpx.comparison import page
from nnpx.comparison.figure import draw
from nnpx.comparison.rows import ERRORS, Row, brief, row_of_folder
from nnpx.comparison.runs import differences
from nnpx.comparison.statistics import groups, importance, pareto_front
from nnpx.files import md5

ENERGY, FORCES = ERRORS[:2]


def row(error, failure="", speed=1.0, **choices):
    found = {} if failure else {"valid/forces_mae": error, "us_per_atom": speed, "train_wall_s": 10.0, "n_parameters": 100.0}
    return Row(
        " ".join(f"{key}={value}" for key, value in choices.items()), {key: str(value) for key, value in choices.items()}, found, failure
    )


def grid(error, **options):
    return [
        row(error(**dict(zip(options, one, strict=True))), **dict(zip(options, one, strict=True)))
        for one in itertools.product(*options.values())
    ]


def test_a_group_is_what_differs_only_in_its_seed():
    """Of 0.010, 0.014 and 0.018 eV/Å the mean is 14 meV/Å, and √((4² + 0² + 4²)/2) = 4 meV/Å."""
    found = groups([row(0.010, d="a", seed=0), row(0.014, d="a", seed=1), row(0.018, d="a", seed=2), row(0.02, d="b", seed=0)])
    assert [dict(group.choices) for group in found] == [{"d": "a"}, {"d": "b"}]
    assert (found[0].mean(FORCES), found[0].sigma(FORCES)) == (pytest.approx(14.0), pytest.approx(4.0))
    assert (found[1].mean(FORCES), found[1].sigma(FORCES)) == (pytest.approx(20.0), None)
    assert found[0].mean(ENERGY) is None


def test_a_failed_run_is_counted_and_does_not_enter_the_mean():
    found = [row(0.01, d="a", seed=0), row(0.0, "it broke", d="a", seed=1), row(0.02, d="b", seed=0), row(0.02, d="b", seed=1)]
    table, *_, failures = page.tables(found)
    assert [line[:3] for line in table.rows] == [("a", "1 (1 failed)", "10"), ("b", "2", "20")]
    assert failures.rows == [("d=a seed=1", "it broke")]


def test_a_number_that_some_runs_have_says_of_how_many():
    found = [row(0.010, d="a", seed=0), row(0.014, d="a", seed=1), row(0.02, d="b", seed=0), row(0.02, d="b", seed=1)]
    found[0].found["test/forces_mae"] = 0.012
    table = page.tables(found)[0]
    column = table.columns.index("forces, test (meV/Å)")
    assert [line[column] for line in table.rows] == ["12 (1 of 2)", ""]


def test_runs_of_one_seed_that_were_measured_on_different_structures_say_so():
    one, other = row(0.01, d="a", seed=0), row(0.02, d="b", seed=0)
    said = "They were not all measured on the same structures, but on 2 validation sets"
    assert said not in " ".join(page.notes([replace(one, measured_on="x"), replace(other, measured_on="x")]))
    assert said not in " ".join(page.notes([replace(one, measured_on="x"), other]))  # not known of the other
    assert said in " ".join(page.notes([replace(one, measured_on="x"), replace(other, measured_on="y")]))
    second = row(0.01, d="a", seed=1)
    assert said not in " ".join(page.notes([replace(one, measured_on="x"), replace(second, measured_on="y")]))  # the seed draws them


@pytest.mark.parametrize("seed", range(20))
def test_the_pareto_front_is_what_no_other_point_dominates(seed):
    generator = random.Random(seed)
    points = [(float(generator.randint(0, 8)), float(generator.randint(0, 8))) for _ in range(25)]
    brute = [not any(a[0] <= b[0] and a[1] <= b[1] and a != b for a in points) for b in points]
    assert pareto_front(points) == brute


def test_the_importance_of_choices_that_multiply_the_error_is_that_of_their_logarithms():
    """error = 0.01 · 4^a · 2^b: the sums of squares of ln(error) are as (ln 4)² : (ln 2)² = 4 : 1."""
    shares = importance(grid(lambda a, b: 0.01 * 4**a * 2**b, a=(0, 1), b=(0, 1)))
    assert {one.factor: one.share for one in shares} == {"a": pytest.approx(0.8), "b": pytest.approx(0.2)}
    assert [one.by_chance for one in shares] == [pytest.approx(1 / 3)] * 2


def test_what_main_effects_do_not_explain_is_left_over():
    """An error that is doubled where a ≠ b is all interaction."""
    shares = importance(grid(lambda a, b: 0.01 * (1 + (a != b)), a=(0, 1), b=(0, 1)))
    assert [one.share for one in shares] == [pytest.approx(0.0)] * 2


def test_a_choice_without_effect_has_the_share_of_chance_on_average():
    generator = random.Random(0)
    found = [importance(grid(lambda a, b: math.exp(generator.gauss(0, 1)), a=(0, 1, 2), b=(0, 1)))[0] for _ in range(2000)]
    assert found[0].by_chance == pytest.approx(0.4)
    assert statistics.fmean(one.share for one in found) == pytest.approx(0.4, abs=0.02)


def test_without_a_full_grid_no_importance_is_told():
    rows = grid(lambda a, b: 0.01 * (1 + a + b), a=(0, 1), b=(0, 1))
    assert importance(rows[:3]) == "not known: the runs are no full grid, in which every combination occurs equally often"
    assert "The importance of each choice is not known: the runs are no full grid" in " ".join(page.notes(rows[:3]))


def test_the_best_comes_first_and_the_front_is_marked():
    table = page.table([row(0.03, d="slow and bad", speed=9.0), row(0.02, d="fast", speed=1.0), row(0.01, d="good", speed=5.0)])
    assert [(line[0], line[-1]) for line in table.rows] == [("good", "●"), ("fast", "●"), ("slow and bad", "")]


def test_the_test_set_decides_nothing():
    """The one with the lower error on the test set has the higher one on the validation set."""
    rows = [row(0.02, d="a"), row(0.01, d="b")]
    rows[0].found["test/forces_mae"], rows[1].found["test/forces_mae"] = 0.001, 0.05
    assert [line[0] for line in page.table(rows).rows] == ["b", "a"]
    assert "forces, test (meV/Å)" in page.table(rows).columns


def test_one_choice_that_was_tried_once_each_explains_everything_and_nothing():
    rows = grid(lambda a: 0.01 * (1 + a), a=range(8))
    assert (
        importance(rows)
        == "not known: one choice differs, and every option was tried once; it takes every option twice, or a second choice"
    )
    assert importance([*rows, row(0.0, "it failed", a=1, b=1)]) == importance(rows)
    assert not isinstance(importance([*rows, *(row(0.02, a=a, seed=1) for a in range(8))]), str)


def test_many_points_have_their_names_beside_them_apart_from_each_other():
    """Two that cost the same: the higher one is named above, the lower one below."""
    many = [row(0.01 * (1 + k), speed=1.0 + k // 2, descriptor=f"d{k}") for k in range(8)]
    texts = draw(many).axes[0].texts
    assert {text.get_text(): text.xyann[1] > 0 for text in texts} == {f"d{k}": k % 2 == 1 for k in range(8)}
    assert not draw(many[:7]).axes[0].texts
    crowd = draw([row(0.001 * (30 - k), speed=1.0 + k, descriptor=f"d{k}") for k in range(21)] + [row(0.05, speed=9.0, descriptor="no")])
    assert {text.get_text() for text in crowd.axes[0].texts} == {f"d{k}" for k in range(21)}


def test_the_figure_has_the_trade_offs_the_learning_curves_and_the_importance():
    rows = grid(
        lambda seed, **one: 0.1 * one["data.split.n_train"] ** -0.5 * (1 + 0.1 * seed),
        **{"data.split.n_train": (50, 100, 200), "seed": (0, 1)},
    )
    figure = draw(rows)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "prediction (µs/atom)",
        "training (s)",
        "parameters",
        "training structures",
        "share of the variance of ln(error) (%)",
    ]
    (curve,) = figure.axes[3].containers
    x, y = curve.lines[0].get_data()
    assert list(x) == [50.0, 100.0, 200.0]
    assert (math.log(y[2]) - math.log(y[0])) / math.log(4) == pytest.approx(-0.5)  # E ∝ N^(-1/2)
    assert (figure.axes[3].get_xscale(), figure.axes[3].get_yscale()) == ("log", "log")


def test_settings_that_change_together_are_one_choice():
    mlp, per_species = "nnpx.network.mlp.MLP", "nnpx.network.per_species.PerSpecies"
    wide = {"descriptor.kind": "wide", "descriptor.angular.n_shells": "4", "network._target_": mlp, "seed": "0", "name": "a"}
    narrow = {"descriptor.kind": "narrow", "descriptor.angular.n_shells": "2", "network._target_": per_species, "seed": "0", "name": "b"}
    assert differences([wide, narrow, {**narrow, "seed": "1", "network._target_": mlp}]) == [
        {"descriptor.kind": "wide", "network": "MLP", "seed": "0"},
        {"descriptor.kind": "narrow", "network": "PerSpecies", "seed": "0"},
        {"descriptor.kind": "narrow", "network": "MLP", "seed": "1"},
    ]


def test_what_only_one_class_has_follows_from_the_choice_of_the_class():
    """Another descriptor has other keys; of two with the same class they differ."""
    large = {"descriptor._target_": "a.Moments", "descriptor.l_max": "4", "descriptor.body_order": "5"}
    small, other = {**large, "descriptor.l_max": "3"}, {"descriptor._target_": "a.ACSF", "descriptor.angular._target_": "a.Grid"}
    assert differences([large, other]) == [{"descriptor": "Moments"}, {"descriptor": "ACSF"}]
    assert differences([large, small, other]) == [
        {"descriptor": "Moments", "descriptor.l_max": "4"},
        {"descriptor": "Moments", "descriptor.l_max": "3"},
        {"descriptor": "ACSF", "descriptor.l_max": ""},
    ]
    assert differences([{"seed": "0"}, {"seed": "0", "data.n": "9"}]) == [{"data.n": ""}, {"data.n": "9"}]


def write_run(folder, error, network, *, tested=None):
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "training.json").write_text(json.dumps({"outcome": {"valid/forces_mae": error, "us_per_atom": 2.0}}))
    (folder / "config.yaml").write_text(f"name: x\nnetwork: {{_target_: nnpx.network.{network}}}\n")
    if tested is not None:
        (folder / "reports" / "evaluation").mkdir(parents=True)
        (folder / "models" / "potential.nnpx").touch()
        found = {"test": {"forces": {"mae": tested}}, "potential_md5": md5(folder / "models" / "potential.nnpx")}
        (folder / "reports" / "evaluation" / "metrics.json").write_text(json.dumps(found))


def test_folders_are_compared_by_what_was_trained_in_them(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "one", 0.01, "mlp.MLP", tested=0.015)
    write_run(tmp_path / "two", 0.02, "per_species.PerSpecies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["nnpx", "compare", "one", "two", "--markdown", "--html", "page.html"])
    assert cli.main() == 0
    out = capsys.readouterr().out
    assert "| MLP | 1 | 10 | 15 | 2 | ● |" in out
    assert "| PerSpecies | 1 | 20 |  | 2 |  |" in out
    assert "<svg " in (tmp_path / "page.html").read_text()
    assert brief(row_of_folder(tmp_path / "one", {}, "one")) == "forces 10 meV/Å"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pdf", "x"), "error: nnpx compare: expected RUN… [--markdown] [--html FILE], found --pdf. See nnpx compare --help.\n"),
        (("--markdown",), "error: nnpx compare: expected runs to compare, found none. See nnpx compare --help.\n"),
    ],
)
def test_a_wrong_comparison_is_one_line(words, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["nnpx", "compare", *words])
    assert cli.main() == 2
    assert capsys.readouterr().err == message
