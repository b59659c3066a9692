"""An experiment is right before it runs, or every one of its errors is told at once."""

import json
import random
from pathlib import Path

import pytest
from conf_stubs import Descriptor, Round, use_tree
from dvc.utils.hydra import compose_and_dump
from omegaconf import OmegaConf

from nnpx.config import compose, fingerprint, instantiate, load_params, problems_of, validate
from nnpx.configuration import resolvers
from nnpx.configuration.annotations import check_value, describe
from nnpx.errors import ConfigError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return use_tree(tmp_path, monkeypatch)


def errors(*overrides, config_dir=None):
    """Every error of these overrides, as the user reads them."""
    with pytest.raises(ConfigError) as caught:
        validate(compose(list(overrides), config_dir), config_dir=config_dir)
    return [str(problem) for problem in problems_of(caught.value)]


def test_the_default_is_valid(tree):
    validate(compose())


def test_options_values_and_experiments_are_chosen_on_the_command_line(tree):
    config = compose(["descriptor=moments", "network.hidden=[32]", "optimizer.learning_rate=1e-4", "seed=3"])
    validate(config)
    assert (config.descriptor.n_radial, list(config.network.hidden), config.optimizer.learning_rate, config.seed) == (4, [32], 1e-4, 3)
    small = compose(["experiment=small"])
    assert (small.name, small.descriptor.n_radial, list(small.network.hidden)) == ("small", 4, [8])
    assert compose(["experiment=small", "descriptor=acsf"]).descriptor.n_radial == 8


def test_interpolations_between_nouns_are_resolved(tree):
    assert compose(["descriptor.cutoff=4.5"]).descriptor.shape.radius == 4.5


EXACT = {
    "descriptor.n_radal=3": (
        "descriptor.n_radal: expected one of the keys of Descriptor (n_radial, cutoff, kind, shape), found n_radal. Did you mean n_radial?"
    ),
    "+descriptor.foo=1": (
        "descriptor.foo: expected one of the keys of Descriptor (n_radial, cutoff, kind, shape), found foo. Remove descriptor.foo."
    ),
    "descriptor=acfs": "descriptor: expected an option of descriptor (acsf, moments), found acfs. Did you mean acsf?",
    "descriptor=": "descriptor: expected an option of descriptor (acsf, moments), found nothing. Choose one of them.",
    "experiment=quickstrat": "experiment: expected an option of experiment (quickstart, small), found quickstrat. Did you mean quickstart?",
    "+descriptor=moments": "+descriptor=moments: expected descriptor=OPTION, found a + before a group that is chosen already. Drop the +.",
    "descriptor.n_radial=abc": 'descriptor.n_radial: expected a whole number ≥ 1, found "abc". Change descriptor.n_radial.',
    "descriptor.n_radial=2.5": "descriptor.n_radial: expected a whole number ≥ 1, found 2.5. Change descriptor.n_radial.",
    "descriptor.n_radial=0": "descriptor.n_radial: expected a whole number ≥ 1, found 0. Change descriptor.n_radial.",
    "descriptor.n_radial=": 'descriptor.n_radial: expected a whole number ≥ 1, found "". Change descriptor.n_radial.',
    "descriptor.n_radial=true": "descriptor.n_radial: expected a whole number ≥ 1, found true. Change descriptor.n_radial.",
    "descriptor.cutoff=-1": "descriptor.cutoff: expected a number > 0, found -1. Change descriptor.cutoff.",
    "optimizer.learning_rate=nan": (
        "optimizer.learning_rate: expected a number > 0, found an infinite number or NaN. Change optimizer.learning_rate."
    ),
    "descriptor.kind=narow": 'descriptor.kind: expected "wide" or "narrow", found "narow". Did you mean narrow?',
    "+descriptor.numbers=[1]": (
        "descriptor.numbers: expected no value, it follows from other choices, found [1]. Remove descriptor.numbers."
    ),
    "network.hidden=64": "network.hidden: expected a list of whole numbers ≥ 1 (1 or more), found 64. Write network.hidden=[64].",
    "network.hidden=[64,a]": 'network.hidden: expected a list of whole numbers ≥ 1 (1 or more), found [64, "a"]. Change network.hidden.',
    "network.hidden=[]": "network.hidden: expected a list of whole numbers ≥ 1 (1 or more), found []. Change network.hidden.",
    "network.dropout=2": "network.dropout: expected a number ≥ 0 and ≤ 1 or null, found 2. Change network.dropout.",
    "optimizer.warm=1": "optimizer.warm: expected true or false, found 1. Change optimizer.warm.",
    "seed=-1": "seed: expected a whole number ≥ 0 and < 4294967296, found -1. Change seed.",
    "data=file": "data.radius in conf/data/file.yaml: expected a number, found nothing. Give it as data.radius=… .",
    "~descriptor.kind": (
        'descriptor.kind in conf/descriptor/acsf.yaml: expected "wide" or "narrow", found nothing. Give it as descriptor.kind=… .'
    ),
    "~network": "network: expected an option of the group network (a mapping with _target_), found nothing. Give it as network=… .",
    "descriptor.shape.radios=1": (
        "descriptor.shape.radios: expected one of the keys of Round (radius), found radios. Did you mean radius?"
    ),
    "descriptor._target_=os.system": (
        "descriptor._target_: expected a class below nnpx. or one that you trust, found os.system. "
        "If the code is yours, say trusted=[os] on the command line, or set NNPX_TRUSTED=os for `dvc repro`, "
        'or call nnpx.trust(["os"]) in Python; otherwise do not use this configuration.'
    ),
    "my.yaml": (
        "my.yaml: expected key=value, found the name of a file. Run a composed experiment with --params my.yaml; "
        "or save your changes as experiment/my.yaml and say --config-dir . experiment=my."
    ),
    "seed": (
        "seed: expected key=value, found a word without =. "
        "Write seed=VALUE; a value with spaces or brackets stands in quotes: 'key=[1, 2]'."
    ),
    "network.hidden=[64": (
        "network.hidden=[64: expected a value that is complete, found an open bracket or quote. "
        "Close brackets and quotes, and quote the whole word for the shell: 'network.hidden=…'."
    ),
}


@pytest.mark.parametrize("override", EXACT)
def test_one_error_says_what_was_expected_what_was_found_and_what_to_do(tree, override):
    assert errors(override) == [EXACT[override]]


def test_a_key_and_its_value_as_two_words_are_put_together(tree):
    assert errors("seed", "3") == ["seed 3: expected key=value, found two words. Write seed=3."]
    assert errors("descriptor:", "acsf")[0].endswith("Write descriptor=acsf.")


def test_an_unknown_group_is_told_with_the_one_that_was_meant(tree):
    (text,) = errors("descripter=acsf")
    assert text.startswith("descripter: expected one of the keys of an experiment (name, seed,")
    assert text.endswith("found descripter. Did you mean descriptor?")


def test_all_errors_are_told_at_once(tree):
    found = errors("descriptor=acfs", "network.hidden=64", "optimizer.learning_rat=1", "optimizer.warm=maybe", "+extra=1")
    assert sorted(text.split(":")[0] for text in found) == [
        "descriptor",
        "extra",
        "network.hidden",
        "optimizer.learning_rat",
        "optimizer.warm",
    ]


def test_a_nested_option_must_be_what_its_place_asks_for(tree):
    found = errors("descriptor.shape._target_=conf_stubs.Square", "~descriptor.shape.radius", "+descriptor.shape.side=1")
    assert found == [
        "descriptor.shape: expected an option that is a Shape (a mapping with _target_), found the class conf_stubs.Square. "
        "Change descriptor.shape."
    ]


def test_a_class_that_does_not_exist_is_told_with_its_neighbours(tree):
    (text,) = errors("descriptor._target_=conf_stubs.Descripto")
    assert text.endswith("found conf_stubs.Descripto. Did you mean Descriptor?")
    (text,) = errors("descriptor._target_=nnpx.descriptr.acsf.ACSF")
    assert "found nnpx.descriptr.acsf.ACSF" in text


def test_a_noun_takes_only_its_own_classes(tree):
    (text,) = errors("descriptor._target_=nnpx.cutoff.cosine.Cosine")
    assert text.startswith("descriptor._target_: expected a class below nnpx.descriptor., found nnpx.cutoff.cosine.Cosine.")


@pytest.mark.parametrize("target", ["torch.nn.Tanh", "torch.optim.AdamW", "nnpx.tracking.MLflow", "nnpxtra.network.Evil", "nnpx.network"])
def test_a_network_is_a_class_of_nnpx_network_or_of_a_trusted_package(tree, target):
    (text,) = errors(f"network={{_target_: {target}}}")
    assert text.startswith("network")
    assert f"found {target}" in text


def test_what_a_module_imports_is_no_option(tree):
    for name in ("configuration.targets.importlib.import_module", "config.Path", "cli.main", "configuration.targets.os"):
        with pytest.raises(ConfigError):
            instantiate({"_target_": f"nnpx.{name}"})


@pytest.mark.parametrize("place", ["shipped", "own"])
def test_a_misspelt_key_in_a_file_is_told_with_the_file(tree, tmp_path, place):
    folder = tree if place == "shipped" else tmp_path / "mine"
    (folder / "descriptor").mkdir(parents=True, exist_ok=True)
    (folder / "descriptor" / "typo.yaml").write_text(
        "_target_: conf_stubs.Descriptor\nn_radial: 8\ncutof: 5.0\nkind: wide\nshape: {_target_: conf_stubs.Round, radius: 1}\n"
    )
    found = errors("descriptor=typo", config_dir=None if place == "shipped" else folder)
    assert found == [
        f"descriptor.cutof in {'conf' if place == 'shipped' else 'mine'}/descriptor/typo.yaml: "
        "expected one of the keys of Descriptor (n_radial, cutoff, kind, shape), found cutof. Did you mean cutoff?"
    ]


@pytest.mark.parametrize("place", ["shipped", "own"])
def test_a_file_that_is_no_yaml_is_told_with_its_line(tree, tmp_path, place):
    folder = tree if place == "shipped" else tmp_path / "mine"
    (folder / "network").mkdir(parents=True, exist_ok=True)
    (folder / "network" / "broken.yaml").write_text("_target_: conf_stubs.Network\nhidden: [64\ndropout: null\n")
    (text,) = errors("network=broken", config_dir=None if place == "shipped" else folder)
    assert text.startswith(f"{'conf' if place == 'shipped' else 'mine'}/network/broken.yaml, line 3: expected valid YAML, found ")


def test_an_experiment_of_the_users_own_is_composed(tree, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "big.yaml").write_text(
        "# @package _global_\ndefaults: [{override /descriptor: moments}]\nname: big\nnetwork: {hidden: [512]}\n"
    )
    config = compose(["experiment=big"], tmp_path / "mine")
    validate(config)
    assert (config.name, config.descriptor.n_radial, list(config.network.hidden)) == ("big", 4, [512])


def test_a_folder_of_options_that_does_not_exist_is_told(tree, tmp_path):
    (text,) = errors(config_dir=tmp_path / "nowhere")
    assert "expected a folder of YAML options, found no such folder" in text


def test_an_interpolation_that_leads_nowhere_is_told(tree):
    (text,) = errors("descriptor.cutoff=${descripter.cutof}")
    assert "descripter.cutof" in text


def test_a_foreign_class_is_refused_until_the_user_trusts_its_package(tree, monkeypatch):
    config = compose()
    monkeypatch.setenv("NNPX_TRUSTED", "")
    with pytest.raises(ConfigError, match=r"trusted=\[conf_stubs\]"):
        validate(config)
    validate(config, trusted=["conf_stubs"])


def test_a_configuration_cannot_trust_itself(tree, monkeypatch):
    monkeypatch.setenv("NNPX_TRUSTED", "")
    with pytest.raises(ConfigError, match="trusted=") as caught:
        validate(OmegaConf.merge(OmegaConf.create({"trusted": ["conf_stubs"]}), _unstruct(compose())))
    assert any(problem.where == "trusted" for problem in problems_of(caught.value))


def _unstruct(config):
    OmegaConf.set_struct(config, False)
    return config


def test_instantiate_builds_nested_options_and_wires_what_is_asked_for(tree):
    built = instantiate(compose(["descriptor.cutoff=4"]).descriptor, numbers=[1, 6], n_features=3)
    assert isinstance(built, Descriptor)
    assert isinstance(built.shape, Round)
    assert built.numbers == [1, 6]
    assert isinstance(built.cutoff, float)
    hidden = instantiate(compose().network).hidden
    assert type(hidden) is list


def test_instantiate_checks_before_it_builds(tree):
    with pytest.raises(ConfigError, match="whole number"):
        instantiate({**OmegaConf.to_container(compose().descriptor), "n_radial": "many"}, numbers=[1])
    with pytest.raises(ConfigError, match="trust"):
        instantiate({"_target_": "os.system", "command": "true"})


def test_a_fingerprint_changes_with_a_value_and_not_with_the_order_of_keys():
    one = OmegaConf.create({"a": 1, "b": {"c": [1, 2]}})
    assert fingerprint(one, 3) == fingerprint({"b": {"c": [1, 2]}, "a": 1}, 3)
    assert len({fingerprint(one, 3), fingerprint(one, 4), fingerprint(one), fingerprint({"a": 2, "b": {"c": [1, 2]}}, 3)}) == 4
    assert len(fingerprint(one)) == 12


def test_what_is_composed_here_is_what_dvc_composes_byte_for_byte(tree, tmp_path):
    overrides = ["descriptor=moments", "network.hidden=[8,8]", "optimizer.learning_rate=1e-5", "name=n"]
    plugins = Path(resolvers.__file__).parent / "_plugins"
    compose_and_dump(tmp_path / "dvc.yaml", str(tree), None, "config", str(plugins), overrides)
    assert OmegaConf.to_yaml(compose(overrides)).encode() == (tmp_path / "dvc.yaml").read_bytes()


def test_a_composed_file_is_read_back_and_checked_alike(tree, tmp_path):
    config = compose(["seed=3"])
    path = tmp_path / "params.yaml"
    path.write_text(OmegaConf.to_yaml(config))
    assert load_params(path) == config
    assert load_params(path, ["seed=5", "network.hidden=[2]"]).seed == 5
    path.write_text(path.read_text().replace("n_radial: 8", "n_radial: eight"))
    with pytest.raises(ConfigError, match="whole number"):
        validate(load_params(path))


def test_a_composed_file_takes_values_but_no_options(tree, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(OmegaConf.to_yaml(compose()))
    with pytest.raises(ConfigError, match="nnpx compose descriptor=moments"):
        load_params(path, ["descriptor=moments"])
    with pytest.raises(ConfigError, match=r"sead"):
        validate(load_params(path, ["sead=3"]))
    with pytest.raises(ConfigError, match=r"Did you mean params.yaml\?"):
        load_params(tmp_path / "parms.yaml")


def test_the_hash_of_conf_changes_with_any_byte_and_any_name(tree):
    before = resolvers.conf_hash(tree)
    assert compose().conf_hash == before
    (tree / "network" / "mlp.yaml").write_text((tree / "network" / "mlp.yaml").read_text() + "# a comment\n")
    edited = resolvers.conf_hash(tree)
    (tree / "network" / "mlp.yaml").rename(tree / "network" / "perceptron.yaml")
    assert len({before, edited, resolvers.conf_hash(tree)}) == 3


def test_numbers_survive_the_check_exactly():
    generator = random.Random(0)
    for number in (generator.uniform(-1, 1) * 10 ** generator.randint(-300, 300) for _ in range(1000)):
        assert check_value(float, number) == number


def test_annotations_are_described_in_words():
    assert describe(dict[str, str]) == "a mapping to texts"
    assert describe(tuple[float, float]) == "a list of 2: a number, a number"
    assert describe(list[list[int]] | None) == "a list of lists of whole numbers or null"
    assert json.loads(json.dumps(check_value(tuple[int, int], [1, 2]))) == [1, 2]
