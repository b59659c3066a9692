"""`nnpx config`: where values come from, every error at once, differences that mean something, what keys mean."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conf_stubs import use_tree
from omegaconf import OmegaConf

from nnpx import cli
from nnpx.config import compose, instantiate
from nnpx.configuration.schema import paths_in, plain
from nnpx.inspection.difference import difference, equal

ROOT = Path(cli.__file__).parent.parent
#: one line per command that must answer at once
ANSWERS = {
    "show": (("config", "show"), 0),
    "validate": (("config", "validate", "descriptor=acsf_narrow"), 0),
    "validate a typo": (("config", "validate", "descriptor.n_radal=3"), 2),
    "check a typo": (("check", "network.hiden=[3]"), 2),
    "diff": (("config", "diff", "", "experiment=behler_parrinello"), 1),
    "schema": (("config", "schema", "--out", "schema"), 0),
    "explain": (("config", "explain", "md.nve.timestep_fs"), 0),
}


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs the command; returns exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nnpx", *arguments])
        return cli.main(), *capfd.readouterr()

    return run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder that uses the shipped conf/."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return use_tree(tmp_path, monkeypatch)


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_needs_nothing_heavy(what, tmp_path):
    words, expected = ANSWERS[what]
    script = "import sys; from nnpx.cli import main; code = main(); sys.stderr.write('\\n' + ' '.join(sys.modules)); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == expected, done.stderr
    assert not {"torch", "torch_geometric", "numpy", "ase", "mlflow", "scipy"} & set(done.stderr.splitlines()[-1].split())


# --- show


def test_every_value_is_shown_with_the_line_that_it_comes_from(tree, run):
    code, out, _ = run("config", "show", "experiment=small", "optimizer.learning_rate=1e-4")
    rows = {row.partition(":")[0].strip(): row.partition("  # ")[2] for row in out.splitlines()}
    assert code == 0
    assert rows["n_radial"] == "conf/descriptor/moments.yaml:2"
    assert rows["kind"] == "conf/descriptor/acsf.yaml:5"
    assert rows["hidden"] == "conf/experiment/small.yaml:4"
    assert rows["learning_rate"] == "on the command line: optimizer.learning_rate=1e-4"
    assert rows["warm"] == "conf/optimizer/adamw.yaml:3"
    assert rows["descriptor"] == "moments, chosen in conf/experiment/small.yaml:2"
    assert rows["network"] == "mlp, chosen in conf/config.yaml:5"


def test_the_line_that_is_named_holds_the_value(project, run):
    _, out, _ = run("config", "show", "experiment=behler_parrinello", "data=silicon_xtb")
    found = 0
    for row in out.splitlines():
        left, _, origin = row.partition("  # ")
        path, _, number = origin.rpartition(":")
        if path.endswith(".yaml") and "chosen" not in path:
            key, _, value = left.strip().partition(": ")
            (line,) = Path(path).read_text().splitlines()[int(number) - 1 : int(number)]
            assert key in line
            if key not in ("name", "conf_hash") and "[" not in value:
                written = yaml.safe_load(line.split(f"{key}:")[1].partition(" #")[0].strip(" }"))
                assert written == yaml.safe_load(value) or str(written) in ("1.0e-6", value)
                found += 1
    assert found > 60


def test_what_is_shown_in_a_pipe_is_the_experiment_as_yaml(project, run):
    _, out, _ = run("config", "show", "seed=3", "descriptor=acsf_set51")
    assert yaml.safe_load(out) == plain(compose(["seed=3", "descriptor=acsf_set51"]))


def test_a_value_of_a_folder_of_ones_own_is_shown_with_its_file(tree, run, tmp_path):
    (tmp_path / "mine" / "network").mkdir(parents=True)
    (tmp_path / "mine" / "network" / "big.yaml").write_text("_target_: conf_stubs.Network\nhidden: [512]\ndropout: 0.5\n")
    _, out, _ = run("config", "show", "network=big", "--config-dir", "mine")
    assert "dropout: 0.5" in out
    assert "# mine/network/big.yaml:3" in out
    assert "# big, chosen on the command line: network=big" in out


# --- validate


def test_every_error_is_told_at_once(tree, run):
    code, out, err = run("config", "validate", "descriptor=acfs", "network.hidden=64", "seed=-1")
    assert (code, out) == (2, "")
    assert sorted(line.split(": ")[1] for line in err.splitlines()) == ["descriptor", "network.hidden", "seed"]
    assert run("config", "validate")[:2] == (0, "the experiment is valid\n")


def test_a_composed_file_is_validated(tree, run):
    run("compose")
    assert run("config", "validate", "--params", "params.yaml")[0] == 0
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("n_radial: 8", "n_radial: eight"))
    code, _, err = run("config", "validate", "--params", "params.yaml")
    assert code == 2
    assert err.startswith('error: descriptor.n_radial: expected a whole number ≥ 1, found "eight".')


# --- did you mean


MISPLACED = {
    "data.n_train=50": "data.split.n_train",
    "data.n_trian=50": "data.split.n_train",
    "trainer.learning_rate=1": "optimizer.learning_rate",
    "hidden=[8]": "network.hidden",
    "md.timestep_fs=1": "md.nve.timestep_fs or md.langevin.timestep_fs",
    "md=nve md.nve.duration_ps=1": "md.duration_ps",
}


@pytest.mark.parametrize("override", MISPLACED)
def test_a_key_in_the_wrong_place_is_told_the_right_one(project, run, override):
    code, _, err = run("config", "validate", *override.split())
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith(f"Did you mean {MISPLACED[override]}?\n")


# --- diff


def test_options_are_compared_by_name_and_then_values(project, run):
    code, out, _ = run("config", "diff", "experiment=quickstart", "experiment=behler_parrinello seed=1")
    options, _, values = out.partition("values:\n")
    assert code == 1
    assert [line.split() for line in options.splitlines()[1:]] == [
        ["cutoff", "polynomial", "→", "cosine"],
        ["descriptor", "acsf", "→", "acsf_narrow"],
        ["prior", "zbl", "→", "zero"],
        ["loss", "huber", "→", "energy_forces"],
    ]
    assert ["seed", "0", "→", "1"] in [line.split() for line in values.splitlines()]
    assert "added:\n  descriptor.angular.n_widths" in values
    assert "  prior.power" in values.partition("removed:\n")[2]


def test_order_of_keys_and_the_form_of_numbers_are_no_difference(tree, run, tmp_path):
    run("compose", "optimizer.learning_rate=1", "descriptor.cutoff=5")
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["optimizer"]["learning_rate"], content["conf_hash"] = 1.0, "another"
    Path("other.yaml").write_text(yaml.safe_dump({key: content[key] for key in reversed(content)}, sort_keys=False))
    assert run("config", "diff", "params.yaml", "other.yaml")[:2] == (0, "no difference\n")
    assert run("config", "diff", "params.yaml", "optimizer.learning_rate=1 descriptor.cutoff=5.0")[0] == 0
    assert run("config", "diff", "params.yaml", "optimizer.learning_rate=2")[0] == 1


def test_a_truth_value_is_no_number():
    assert equal(1, 1.0)
    assert equal([1, [2]], [1.0, [2.0]])
    assert not equal(1, True)
    assert not equal(0, False)
    assert not equal([1], [1, 2])


def test_what_one_side_lacks_is_added_or_removed():
    found = difference({"a": {"b": 1, "c": None}}, {"a": {"b": 1, "d": {}}}, [])
    assert (found.added, found.removed, found.values) == ({"a.d": {}}, {"a.c": None}, {})


def test_a_run_is_compared_by_the_configuration_that_it_keeps(project, run, empty_database):
    shutil.copy(empty_database, project / "mlflow.db")
    tracker = instantiate(compose(["tracking.timeout_s=60"]).tracking, workspace=project)
    tracker.prepare()
    ids = []
    for seed in (1, 2):
        with tracker.start(f"seed {seed}", parent=None, tags={}) as one:
            one.log_text(OmegaConf.to_yaml(compose([f"seed={seed}"])), "config.yaml")
            ids.append(one.id)
    assert run("config", "diff", *ids)[:2] == (1, "values:\n  seed  1 → 2\n")
    assert run("config", "diff", ids[0], "seed=1")[:2] == (0, "no difference\n")
    prefix = next(ids[1][:n] for n in range(1, 33) if not ids[0].startswith(ids[1][:n]))
    assert run("config", "diff", "seed=2", prefix)[0] == 0
    code, _, err = run("config", "diff", "zzz", "")
    assert code == 2
    assert "found none of them" in err


@pytest.mark.parametrize("words", [("0123abc", ""), ("nothing.yaml", ""), ("", "descriptor=acfs"), ("",)])
def test_a_word_that_names_no_experiment_is_an_error(tree, run, words):
    code, out, err = run("config", "diff", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)


# --- explain


def test_a_key_is_explained_from_the_docstring_that_it_refers_to(project, run):
    code, out, _ = run("config", "explain", "md.nve.timestep_fs")
    assert code == 0
    assert out.startswith("md.nve.timestep_fs: Δt. 0.5 with hydrogen, 2 for heavy elements.\n")
    assert "type      a number > 0\n" in out
    assert "unit      fs\n" in out
    assert "conf/md/nve.yaml:5\n" in out
    assert "https://doi.org/10.1063/1.442716\n" in out


def test_a_group_is_explained_with_its_options_and_references(project, run):
    _, out, _ = run("config", "explain", "descriptor")
    assert "chosen    acsf, in " in out
    assert re.search(
        r" acsf_narrow +Behler's G4 with centred widths from the recipe of Imbalzano et al\. \(doi:10\.1063/1\.5024611\)\n", out
    )
    assert "https://doi.org/10.1063/1.3553717\n" in out
    assert "descriptor.angular_radius = 4.5: a number > 0, Å\n" in out


def test_an_option_is_explained_by_its_own_keys(project, run):
    assert "descriptor.angular: " in run("config", "explain", "descriptor=acsf_narrow")[1]
    assert "https://doi.org/10.48550/arXiv.2210.07237\n" in run("config", "explain", "md=replicas")[1]  # without what stands behind it
    assert "a whole number ≥ 2" in run("config", "explain", "descriptor.angular.n_widths", "descriptor=acsf_narrow")[1]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("network.hiden", "network.hidden"), ("n_train", "data.split.n_train"), ("descripter", "descriptor"), ("sead", "seed")],
)
def test_an_unknown_key_is_told_the_one_that_was_meant(project, run, key, meant):
    code, _, err = run("config", "explain", key)
    assert code == 2
    assert err.endswith(f"Did you mean {meant}?\n")


def every_key():
    config = plain(compose())
    return [key for key in paths_in(config) if not key.endswith("_target_")]


def test_every_key_of_the_default_experiment_has_a_description(project, run):
    from nnpx.configuration import resolvers
    from nnpx.inspection.explain import explain
    from nnpx.inspection.origins import origins

    folders = [resolvers.conf_dir()]
    config, known = plain(compose()), origins([], None, folders)
    bare = [key for key in every_key() if explain(key, config, known, folders)[0].endswith(": no description")]
    assert bare == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("config", "shwo"), "Did you mean show?"),
        (("config", "explain"), "Name a group or a key: nnpx config explain network.hidden."),
        (("config", "diff", "seed=1"), "expected two experiments, found 1 words"),
        (("config", "schema", "seed=1"), "expected no words after it, found seed=1"),
        (("config", "show", "--config-dir", "nowhere"), "expected a folder of YAML options, found no such folder"),
    ],
)
def test_a_wrong_command_line_is_one_line(project, run, words, message):
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_help_lists_what_can_be_asked(run):
    code, out, _ = run("config", "--help")
    assert code == 0
    assert all(f"  {what} " in out for what in ("show", "validate", "diff", "schema", "explain"))
    assert run("config")[0] == 2
