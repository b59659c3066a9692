"""One noun, four places: a folder of conf/, a package, its docstring, and options that compose and fit the signatures they name."""

import functools
import importlib
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

import nnpx
from nnpx import config as configuration
from nnpx.configuration.option_files import SEPARATE_GROUPS
from nnpx.configuration.overrides import groups_in
from nnpx.configuration.schema import NOUNS, SCALARS, check_node, plain
from nnpx.upstream import READS
from nnpx.verbs import verbs

ROOT = Path(nnpx.__file__).parent.parent
CONF = ROOT / "conf"
OPTIONS = [(noun, path.stem) for noun in NOUNS for path in sorted((CONF / noun).glob("*.yaml"))]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_the_folders_of_conf_are_the_nouns_the_experiments_and_what_commands_compose():
    assert set(groups_in([CONF])) == {*NOUNS, *SEPARATE_GROUPS, "experiment"}


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_has_a_package_that_says_what_it_is(noun):
    assert len(importlib.import_module(f"nnpx.{noun}").__doc__ or "") > 60


@pytest.mark.parametrize(("noun", "option"), OPTIONS)
def test_an_option_says_what_it_is_and_names_a_class_of_its_noun(noun, option):
    text = (CONF / noun / f"{option}.yaml").read_text()
    assert text.startswith("# ")
    assert OmegaConf.create(text)._target_.startswith(f"nnpx.{noun}.")


@pytest.mark.parametrize(("noun", "option"), OPTIONS)
def test_an_option_composes_and_fits_the_signature_that_it_names(noun, option):
    row = [name for group, name in OPTIONS if group == noun].index(option)
    problems = check_node(plain(composed(row)[noun]), noun, ())[1]
    asked = [f"{noun}.{key}" for key, value in yaml.safe_load((CONF / noun / f"{option}.yaml").read_text()).items() if value == "???"]
    assert [problem.where for problem in problems] == asked  # what only the user can give


@functools.cache
def composed(row):
    """An experiment of the option number `row` of every noun that has so many: each option is composed once."""
    options = {noun: [name for group, name in OPTIONS if group == noun] for noun in NOUNS}
    return configuration.compose([f"{noun}={names[row]}" for noun, names in options.items() if len(names) > row])


@pytest.mark.parametrize("name", groups_in([CONF])["experiment"])
def test_an_experiment_composes_and_is_named_after_its_file(name):
    config = configuration.compose([f"experiment={name}"])
    configuration.validate(config)
    assert config.name == name


def test_nothing_of_this_machine_reaches_the_composed_experiment():
    text = OmegaConf.to_yaml(configuration.compose())
    assert str(Path.home()) not in text
    assert str(ROOT) not in text
    assert all("oc.env" not in path.read_text() for path in CONF.rglob("*.yaml"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_parts_of_the_experiment_that_exist(stage):
    assert STAGES[stage]["cmd"] == f"nnpx {stage} --params params.yaml"
    assert set(STAGES[stage].get("params", [])) <= {*NOUNS, *SCALARS}


def test_dvc_and_the_command_line_agree_on_what_decides_the_data():
    assert {stage: set(STAGES[stage]["params"]) for stage in READS} == {stage: set(parts) for stage, parts in READS.items()}


def test_every_piece_of_code_that_a_stage_depends_on_exists():
    deps = [dep for stage in STAGES.values() for dep in stage["deps"] if dep.startswith(("nnpx/", "pipelines/", "conf"))]
    assert [dep for dep in deps if not (ROOT / dep).exists()] == []


def test_every_verb_that_makes_something_is_a_stage_in_the_order_of_the_help():
    """`learn` is none: it goes through the others again and again, and keeps a journal of its own."""
    apart = ("report", "compose", "check", "learn")
    assert [verb for verb in verbs() if verb not in apart] == [stage for stage in STAGES if stage != "check"]
