"""The schemas that editors get accept every shipped file and refuse what `nnpx check` refuses."""

import json
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nnpx import cli
from nnpx.configuration import resolvers
from nnpx.configuration.schema import NOUNS
from nnpx.errors import ConfigError
from nnpx.inspection.json_schema import schemas

validators = pytest.importorskip("jsonschema")
CONF = resolvers.conf_dir()
SCHEMAS = schemas([CONF])
FILES = [path for path in sorted(CONF.rglob("*.yaml")) if path.parent.name in (*NOUNS, "experiment") or path.parent == CONF]


def content(path):
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


def problems(path, value):
    schema = SCHEMAS["config" if path.parent == CONF else path.parent.name]
    return list(validators.Draft202012Validator(schema).iter_errors(value))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_json_schema(name):
    validators.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_shipped_file_fits_its_schema(path):
    assert problems(path, content(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_a_key_that_does_not_exist_is_refused(path):
    assert problems(path, {**content(path), "typo": 1})


WRONG = {
    "network/mlp": [("hidden", 64), ("hidden", []), ("hidden", ["a"]), ("activation", "relu"), ("output_scale", -1), ("hiden", [3])],
    "optimizer/adamw": [("beta1", 1), ("amsgrad", 1), ("learning_rate", "fast"), ("_target_", "os.system")],
    "descriptor/acsf": [("angular", {"_target_": "nnpx.descriptor.angular.ShiftedGrid"}), ("angular", 3), ("kind", "narow")],
    "data/extxyz": [("keys", {"enregy": "e"}), ("split", {"_target_": "nnpx.data.split.Random", "n_train": -1, "n_valid": 1, "n_test": 1})],
    "experiment/quickstart": [("network", {"hiden": [3]}), ("descriptor", {"angular": {"n_shels": 3}}), ("seed", -1), ("trusted", ["os"])],
}


@pytest.mark.parametrize(("option", "key", "value"), [(option, *case) for option, cases in WRONG.items() for case in cases])
def test_a_value_that_the_check_refuses_is_refused(option, key, value):
    path = CONF / f"{option}.yaml"
    assert problems(path, {**content(path), key: value})


def test_what_is_missing_is_told_unless_it_is_inherited():
    path = CONF / "network" / "mlp.yaml"
    rest = {key: value for key, value in content(path).items() if key != "hidden"}
    assert problems(path, rest)
    assert problems(path, {**rest, "defaults": ["mlp", "_self_"]}) == []
    assert problems(path, {"defaults": ["mlp", "_self_"], "hidden": [8]}) == []
    assert problems(path, {"hidden": [8]})


def test_an_interpolation_and_a_value_to_be_given_stand_anywhere():
    path = CONF / "cutoff" / "cosine.yaml"
    for value in ("${descriptor.angular_radius}", "???"):
        assert problems(path, {**content(path), "radius": value}) == []


def test_keys_carry_description_range_and_unit():
    schema = SCHEMAS["md"]["allOf"]
    (nve,) = [each["then"] for each in schema if each["then"].get("title") == "NVE"]
    step = nve["properties"]["timestep_fs"]
    assert step["description"].startswith("Δt. 0.5 with hydrogen")
    assert step["description"].endswith("[fs]")
    assert step["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0}


def test_classes_of_ones_own_have_schemas_where_they_are_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("NNPX_TRUSTED", "conf_stubs")
    path = tmp_path / "mine" / "descriptor" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "_target_: conf_stubs.Descriptor\nn_radial: 8\ncutoff: 5.0\nkind: wide\nshape: {_target_: conf_stubs.Round, radius: 1}\n"
    )
    made = schemas([CONF, tmp_path / "mine"])
    for schema in made.values():
        validators.Draft202012Validator.check_schema(schema)
    validator = validators.Draft202012Validator(made["descriptor"])
    assert list(validator.iter_errors(content(path))) == []
    assert list(validator.iter_errors({**content(path), "n_radial": 0}))
    monkeypatch.setenv("NNPX_TRUSTED", "")
    with pytest.raises(ConfigError, match=r"trusted=\[conf_stubs\]"):
        schemas([CONF, tmp_path / "mine"])


def test_the_command_writes_one_schema_per_noun_and_says_how_to_use_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nnpx", "config", "schema", "--out", "schema"])
    assert cli.main() == 0
    assert {path.stem for path in Path("schema").glob("*.json")} == {*NOUNS, "experiment", "config"}
    printed = capsys.readouterr()
    assert printed.err.startswith(f"wrote {len(NOUNS) + 2} schemas to schema")
    settings = json.loads(printed.out)
    assert settings["yaml.schemas"]["schema/descriptor.json"] == f"{CONF}/descriptor/*.yaml"
    assert json.loads(Path("schema/descriptor.json").read_text()) == SCHEMAS["descriptor"]
