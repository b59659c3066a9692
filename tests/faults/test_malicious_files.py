"""A configuration that comes from anywhere names what it likes: it is refused by name, and nothing of it runs."""

import json
import sys

import pytest
import torch
from conf_stubs import use_tree
from safetensors.torch import save_file

from nnpx import artifact, cli
from nnpx.config import compose, instantiate, load_params, problems_of, validate
from nnpx.errors import ArtifactError, ConfigError

#: a shell command that leaves a trace where it runs
TRACE = "touch harmed"
COMMANDS = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.run",
    "pickle.loads",
    "nnpx.configuration.targets.importlib.import_module",
]
EVIL = {"_target_": "os.system", "command": TRACE}
#: places of an experiment where a node may hide, as (key that is set, what it is set to)
HIDDEN = {
    "an option": ("network", EVIL),
    "an argument": ("network.dropout", EVIL),
    "a list": ("network.hidden", [8, EVIL]),
    "a dictionary in a list": ("network.hidden", [{"size": {"deep": [EVIL]}}]),
    "a nested option": ("descriptor.shape", EVIL),
    "a name": ("name", EVIL),
    "a seed": ("seed", EVIL),
    "another key": ("extra", EVIL),
}
#: what Hydra's own instantiate would obey
INSTRUCTIONS = {"_partial_": True, "_args_": [TRACE], "_recursive_": False, "_convert_": "all"}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    yield use_tree(tmp_path, monkeypatch)
    assert not (tmp_path / "harmed").exists()
    assert not any((tmp_path / name).exists() for name in ("multirun/harmed", "mine/harmed"))


@pytest.fixture
def nnpx(tree, monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nnpx", *arguments])
        code = cli.main()
        return code, capfd.readouterr().err

    return run


def refusals(config, **options):
    with pytest.raises(ConfigError) as caught:
        validate(config, **options)
    return [str(problem) for problem in problems_of(caught.value)]


def changed(key, value):
    """A composed experiment, saved, with one place replaced."""
    config = json.loads(json.dumps(_plain()))
    *path, last = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[last] = value
    return config


def _plain():
    from omegaconf import OmegaConf

    return OmegaConf.to_container(compose(), resolve=True)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("target", COMMANDS)
def test_a_params_file_cannot_name_a_command(tree, tmp_path, target):
    path = written(tmp_path / "params.yaml", changed("network", {"_target_": target, "command": TRACE}))
    assert any(f"found {target}" in text for text in refusals(load_params(path)))


@pytest.mark.parametrize("place", HIDDEN)
def test_a_command_is_refused_wherever_it_hides(tree, tmp_path, place):
    key, value = HIDDEN[place]
    found = refusals(load_params(written(tmp_path / "params.yaml", changed(key, value))))
    assert any("found os.system" in text or text.startswith(f"{key}:") for text in found)
    assert any(key in text for text in found)


@pytest.mark.parametrize("place", HIDDEN)
def test_a_command_in_an_option_of_a_folder_of_ones_own_is_refused(nnpx, tmp_path, place):
    key, value = HIDDEN[place]
    tree = changed(key, value)
    noun = key.split(".")[0]
    written(tmp_path / "mine" / "experiment" / "evil.yaml", f"# @package _global_\n{json.dumps({noun: tree[noun]})}\n")
    code, err = nnpx("compose", "--config-dir", "mine", "experiment=evil")
    assert code == 2
    assert "os.system" in err or f"error: {key}" in err
    assert not (tmp_path / "params.yaml").exists()


@pytest.mark.parametrize("key", INSTRUCTIONS)
def test_instructions_of_hydras_instantiate_are_no_keys(tree, tmp_path, key):
    config = changed("network", {**_plain()["network"], key: INSTRUCTIONS[key]})
    (text,) = refusals(load_params(written(tmp_path / "params.yaml", config)))
    assert text.startswith(f"network.{key}: expected one of the keys of Network (hidden, dropout), found {key}.")
    with pytest.raises(ConfigError, match=key):
        instantiate({"_target_": "conf_stubs.Open", key: INSTRUCTIONS[key]})


def test_a_command_reached_through_an_interpolation_is_refused(tree, tmp_path):
    config = {**changed("network", {"_target_": "${name}", "command": TRACE}), "name": "os.system"}
    assert any("found os.system" in text for text in refusals(load_params(written(tmp_path / "params.yaml", config))))
    halves = {**changed("network", {"_target_": "os.${name}", "command": TRACE}), "name": "system"}
    assert any("found os.system" in text for text in refusals(load_params(written(tmp_path / "params.yaml", halves))))


@pytest.mark.parametrize("where", ["params.yaml", "mine/experiment/evil.yaml"])
def test_a_file_cannot_trust_a_package(nnpx, tmp_path, where):
    if where == "params.yaml":
        written(tmp_path / where, {**changed("network", EVIL), "trusted": ["os"]})
        code, err = nnpx("check", "--params", where)
    else:
        written(tmp_path / where, f"# @package _global_\ntrusted: [os]\nnetwork: {json.dumps(EVIL)}\n")
        code, err = nnpx("check", "--config-dir", "mine", "experiment=evil")
    assert code == 2
    assert "error: trusted: " in err
    assert "network._target_: expected a class below nnpx. or one that you trust, found os.system." in err


def test_python_objects_in_yaml_are_not_made(nnpx, tmp_path):
    written(tmp_path / "params.yaml", f'name: !!python/object/apply:os.system ["{TRACE}"]\n')
    code, err = nnpx("check", "--params", "params.yaml")
    assert code == 2
    assert "python/object/apply:os.system" in err


#: what Hydra would run from its own keys, with the key that the refusal names
HYDRA = {
    "hydra.callbacks.evil._target_": {"callbacks": {"evil": EVIL}},
    "hydra.launcher._target_": {"launcher": {"_target_": "os.system"}},
    "hydra.sweeper._target_": {"sweeper": {"_target_": "os.system"}},
    "hydra.job_logging": {"job_logging": {"filters": {"evil": {"()": "os.system", "command": TRACE}}}},
    "hydra.hydra_logging": {"hydra_logging": {"handlers": {"console": {"()": "os.system", "command": TRACE}}}},
    "hydra.job.env_set": {"job": {"env_set": {"NNPX_TRUSTED": "os"}}},
}


@pytest.mark.parametrize("key", HYDRA)
@pytest.mark.parametrize("words", [("compose",), ("train", "-m", "seed=0,1"), ("train", "--cfg", "hydra")])
def test_a_file_cannot_make_hydra_run_code(nnpx, tmp_path, key, words):
    written(tmp_path / "mine" / "experiment" / "evil.yaml", f"# @package _global_\nhydra: {json.dumps(HYDRA[key])}\n")
    code, err = nnpx(*words, "--config-dir", "mine", "experiment=evil")
    assert code == 2
    assert f"error: {key}: expected " in err


@pytest.mark.filterwarnings("ignore:(?s).*is validated against ConfigStore schema with the same name:UserWarning")
def test_a_launcher_of_ones_own_file_must_be_one_of_hydras(nnpx, tmp_path):
    """Also where the file has the name of one of them."""
    written(tmp_path / "mine" / "experiment" / "harmless.yaml", "# @package _global_\nname: harmless\n")
    written(tmp_path / "mine" / "hydra" / "launcher" / "evil.yaml", EVIL)
    code, err = nnpx("train", "-m", "seed=0,1", "--config-dir", "mine", "hydra/launcher=evil")
    assert code == 2
    assert "error: hydra/launcher: expected an option of hydra/launcher" in err
    written(tmp_path / "mine" / "hydra" / "launcher" / "joblib.yaml", {"_target_": "os.system"})
    code, err = nnpx("train", "-m", "seed=0,1", "--config-dir", "mine", "hydra/launcher=joblib")
    assert code == 2
    assert "error: hydra.launcher._target_: expected a launcher or sweeper of Hydra or its plugins" in err
    assert "found os.system" in err


@pytest.mark.filterwarnings("ignore:(?s).*is validated against ConfigStore schema with the same name:UserWarning")
def test_a_word_of_the_user_opens_no_door_to_a_file(nnpx, tmp_path):
    evil = {"filters": {"evil": {"()": "os.system", "command": TRACE}}}
    written(tmp_path / "mine" / "experiment" / "evil.yaml", f"# @package _global_\nhydra: {json.dumps({'job_logging': evil})}\n")
    code, err = nnpx("train", "-m", "seed=0,1", "--config-dir", "mine", "experiment=evil", "hydra.job_logging.root.level=DEBUG")
    assert code == 2
    assert "error: hydra.job_logging: expected nothing, or your own word on the command line" in err
    written(tmp_path / "mine" / "hydra" / "job_logging" / "evil.yaml", {"version": 1, **evil})
    code, err = nnpx("train", "-m", "seed=0,1", "--config-dir", "mine", "hydra/job_logging=evil")
    assert code == 2
    assert "error: hydra/job_logging: expected an option of Hydra or its plugins, found evil" in err
    target = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    written(tmp_path / "mine" / "hydra" / "launcher" / "submitit_slurm.yaml", {"_target_": target, "setup": [TRACE]})
    code, err = nnpx("train", "-m", "seed=0,1", "--config-dir", "mine", "hydra/launcher=submitit_slurm")
    assert code == 2
    assert f'error: hydra.launcher.setup: expected nothing, or your own word on the command line, found ["{TRACE}"].' in err


@pytest.mark.filterwarnings("ignore:(?s).*is validated against ConfigStore schema with the same name:UserWarning")
@pytest.mark.parametrize(
    "told",
    [
        {"launcher": {"x": "${oc.create:{_target_:torch.hub.load,repo_or_dir:evil,model:go,source:local}}"}},
        {"sweep": {"subdir": "../.."}},
        {"sweep": {"dir": "/tmp"}},
    ],
)
def test_a_file_says_nothing_to_hydra_but_the_grid(nnpx, tmp_path, told):
    """Neither through a resolver nor by leading a sweep to a folder whose models it would clear."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "precious").touch()
    written(tmp_path / "mine" / "experiment" / "evil.yaml", f"# @package _global_\nhydra: {json.dumps(told)}\n")
    code, err = nnpx("evaluate", "-m", "--config-dir", "mine", "experiment=evil", "tracking=plain", "seed=0,1")
    assert code == 2
    assert err.startswith("error: ")
    assert (tmp_path / "models" / "precious").exists()


def test_an_own_launcher_chosen_by_a_file_is_refused(nnpx, tmp_path):
    written(tmp_path / "mine" / "experiment" / "evil.yaml", "# @package _global_\ndefaults: [{override /hydra/launcher: evil}]\n")
    target = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    node = {"_target_": target, "x": "${oc.create:{_target_:torch.hub.load,repo_or_dir:evil,model:go,source:local}}"}
    written(tmp_path / "mine" / "hydra" / "launcher" / "evil.yaml", node)
    code, err = nnpx("train", "-m", "--config-dir", "mine", "experiment=evil", "seed=0,1")
    assert code == 2
    assert "error: hydra.launcher.x: expected nothing, or your own word on the command line" in err


def test_what_the_user_says_to_hydra_is_the_users_affair(tree):
    validate(compose(["hydra.job_logging.root.level=DEBUG", "hydra/launcher=joblib", "+hydra.job.env_set.OMP_NUM_THREADS='1'"]))


def test_a_params_file_cannot_speak_to_hydra_when_values_are_composed_upon_it(nnpx, tmp_path):
    written(tmp_path / "params.yaml", {**_plain(), "hydra": {"searchpath": ["pkg://evil"]}})
    code, err = nnpx("check", "--params", "params.yaml", "seed=1")
    assert code == 2
    assert "error: hydra: expected the values of an experiment alone" in err
    written(tmp_path / "params.yaml", {**_plain(), "defaults": ["_self_"]})
    code, err = nnpx("check", "--params", "params.yaml", "seed=1")
    assert code == 2
    assert "error: params.yaml: expected a composed experiment, with every group in it, found one that is not composed" in err


@pytest.mark.parametrize("secret", ["${oc.env:SECRET}", "a/${oc.env:SECRET,none}/b", "${oc.${which}:SECRET}", "${now:%Y}"])
def test_nothing_of_this_machine_enters_an_experiment(nnpx, tmp_path, monkeypatch, secret):
    monkeypatch.setenv("SECRET", "hunter2")
    written(tmp_path / "mine" / "experiment" / "evil.yaml", f"# @package _global_\nname: '{secret}'\n")
    written(tmp_path / "params.yaml", {**_plain(), "name": secret})
    lines = [("--config-dir", "mine", "experiment=evil"), ("--params", "params.yaml"), (f"name={secret}",)]
    for words in lines[: 2 if "which" in secret else 3]:  # Hydra's grammar of overrides has no nested names
        code, err = nnpx("check", *words)
        assert code == 2
        assert "name: expected a value that is the same on every machine" in err
        assert "hunter2" not in err


@pytest.mark.parametrize(
    "node", [EVIL, {"_target_": "builtins.eval", "expression": "1"}, {"_target_": "nnpx.network.mlp.MLP", "_partial_": True}]
)
@pytest.mark.parametrize("place", ["network", "descriptor.angular"])
def test_a_saved_potential_cannot_name_a_command(tmp_path, monkeypatch, node, place):
    monkeypatch.chdir(tmp_path)
    config = {name: {"_target_": f"nnpx.{name}.none.None"} for name in artifact.NODES}
    config.update({"noise": {"_target_": "nnpx.noise.none.NoNoise"}, "ensemble": {"_target_": "nnpx.ensemble.single.Single"}})
    config.update({"cutoff": {"_target_": "nnpx.cutoff.cosine.Cosine", "radius": 5.0}})
    config.update({"radial": {"_target_": "nnpx.radial.bessel.Bessel", "n_functions": 2, "smoothness": 1.0}})
    config.update({"species_embedding": {"_target_": "nnpx.species_embedding.onehot.OneHot"}})
    angular = {"_target_": "nnpx.descriptor.angular.ShiftedGrid", "r_min": 0.8, "n_shells": 1, "zetas": [1], "lambdas": [1]}
    acsf = {"_target_": "nnpx.descriptor.acsf.ACSF", "angular_radius": 4.0, "kind": "narrow", "angular": angular, "functions": None}
    config.update({"descriptor": acsf if place == "network" else {**acsf, "angular": node}})
    config.update({"network": node} if place == "network" else {})
    header = {"format": 1, "version": "0", "numbers": [1], "n_members": 1, "config": config, "trusted": ["os", "builtins"]}
    save_file({"none": torch.zeros(1)}, tmp_path / "evil.nnpx", metadata={artifact.KEY: json.dumps(header)})
    with pytest.raises(ArtifactError, match=node["_target_"].replace(".", r"\.") if "_partial_" not in node else "_partial_") as caught:
        artifact.load(tmp_path / "evil.nnpx")
    assert "never load a potential from where you do not trust" in str(caught.value)
    assert not (tmp_path / "harmed").exists()
