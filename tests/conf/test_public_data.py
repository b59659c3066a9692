"""An experiment for public data is, alone, the row of "At a glance" in RESULTS.md that meets its aim."""

import re
from pathlib import Path

import pytest

from nnpx.config import compose, conf_dir, validate

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GLANCE = (BENCHMARKS / "RESULTS.md").read_text(encoding="utf-8").partition("## At a glance")[2].partition("\n## ")[0]
MEMBERS = {"two": 2, "three": 3, "four": 4}
#: what each was measured with: potentials, descriptor, cutoff (Å), epochs
MEASURED = {
    "acac": (3, "MomentsWithMessages", 5.0, 250),
    "acac_local": (4, "Moments", 5.0, 250),
    "rmd17_ethanol": (3, "MomentsWithMessages", 5.0, 240),
    "mlearn_si": (4, "MomentsWithMessages", 5.0, 60),
    "mlearn_li": (4, "Moments", 7.0, 60),
    "water_pbe0": (1, "MomentsWithMessages", 5.0, 32),
}


@pytest.mark.parametrize("name", MEASURED)
def test_an_experiment_alone_is_what_was_measured(name):
    config = compose([f"experiment={name}", "data.path=train.xyz", "data.path_test=test.xyz"])
    validate(config)
    kind = config.descriptor._target_.rpartition(".")[2]
    found = config.ensemble.get("n_members", 1), kind, config.cutoff.radius, config.trainer.max_epochs
    assert found == MEASURED[name]
    assert config.trainer.patience_epochs == config.trainer.max_epochs


def test_every_row_that_names_experiments_has_as_many_members_as_they():
    rows = [line for line in GLANCE.splitlines() if re.search(r"\(`\w+`", line)]
    named = {name for line in rows for name in re.findall(r"`(\w+)`", line) if name in MEASURED}
    assert named == set(MEASURED)
    for line in rows:
        said = re.search(r"(\w+) members", line)
        for name in set(re.findall(r"`(\w+)`", line)) & set(MEASURED):
            assert said is None or MEASURED[name][0] == MEMBERS[said[1]], line


@pytest.mark.parametrize("page", ["RESULTS.md", "README.md"])
def test_an_experiment_that_is_named_is_there_or_said_to_have_been(page):
    text = (BENCHMARKS / page).read_text(encoding="utf-8")
    there = {path.stem for path in (conf_dir() / "experiment").glob("*.yaml")}
    assert set(re.findall(r"experiment=(\w+)", text)) - there <= {"NAME", "mlearn"}
