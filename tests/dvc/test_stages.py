"""Each stage of dvc.yaml declares what its verb reads, so that DVC repeats neither too little nor too much."""

import ast
from pathlib import Path

import pytest
import yaml

from nnpx.configuration import resolvers
from nnpx.configuration.schema import NOUNS
from nnpx.verbs import verbs

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PIPELINES = [stage for stage in STAGES if (ROOT / "pipelines" / f"{stage}.py").is_file()]
#: where a run is kept, what it is called and where labels are computed decide no result
IDLE = {"tracking", "name", "executor"}


def outs(stage: str) -> list[str]:
    found = [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]
    return [next(iter(one)) if isinstance(one, dict) else one for one in found]


@pytest.mark.parametrize("stage", PIPELINES)
def test_a_stage_declares_every_part_of_the_experiment_that_its_verb_reads(stage: str) -> None:
    nodes = ast.walk(ast.parse((ROOT / "pipelines" / f"{stage}.py").read_text()))
    read = {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config"
    }
    assert read - IDLE <= set(STAGES[stage].get("params", []))


@pytest.mark.parametrize("stage", PIPELINES)
def test_a_stage_that_reads_a_noun_depends_on_its_code(stage: str) -> None:
    nouns = set(STAGES[stage].get("params", [])) & set(NOUNS)
    assert {f"nnpx/{noun}" for noun in nouns} | {f"pipelines/{stage}.py"} <= set(STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_depends_on_is_there_or_made_by_another(stage: str) -> None:
    made = {out for other in STAGES if other != stage for out in outs(other)}
    assert [name for name in STAGES[stage]["deps"] if name not in made and not (ROOT / name).exists()] == []
    assert STAGES[stage]["cmd"] == f"nnpx {stage} --params params.yaml"
    assert stage in verbs()


def test_every_result_is_kept_in_the_cache_so_that_a_clone_finds_it() -> None:
    """Git ignores data, models and reports: what the cache does not keep is in no clone, and unknown to `dvc metrics diff`."""
    found = [one for stage in STAGES.values() for one in [*stage.get("outs", []), *stage.get("metrics", [])] if isinstance(one, dict)]
    assert [one for one in found if next(iter(one.values())).get("cache") is False] == []


def test_the_committed_experiment_was_composed_from_conf_as_it_is() -> None:
    """Otherwise `make demo` in a fresh clone ends in its first stage."""
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["conf_hash"] == resolvers.conf_hash(ROOT / "conf")
