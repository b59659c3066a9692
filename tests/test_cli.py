"""The command line: clear errors, the right verbs in the right order, nothing heavy before the experiment is known to be right."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from conf_stubs import use_tree
from dvc.utils.hydra import compose_and_dump
from omegaconf import OmegaConf

from nnpx import cli, upstream
from nnpx.config import compose, load_params
from nnpx.configuration import resolvers

VERB = '''"""{doc}"""
import json
from pathlib import Path
from nnpx.upstream import STAMPS, inputs_of, stamp

def main(config, workspace):
    calls = Path("{log}")
    calls.write_text(calls.read_text() + "{verb} " + str(workspace.name) + " " + str(config.seed) + "\\n")
    path = workspace / STAMPS.get("{verb}", Path("models/potential.nnpx"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if "{verb}" == "label":
        (workspace / "data" / "labelled.extxyz").touch()
    made = {{"inputs": inputs_of(config, workspace), "source_md5": "d41d8cd98f00b204e9800998ecf8427e"}}  # of nothing
    path.write_text(json.dumps({{"config": stamp("{verb}", config), **made}}) if "{verb}" in STAMPS else "weights")
'''


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small conf/, and verbs that only write down that they ran."""
    use_tree(tmp_path, monkeypatch)
    folder, log = tmp_path / "pipelines", tmp_path / "calls"
    folder.mkdir()
    log.touch()
    for verb in ("label", "prepare", "train", "evaluate"):
        (folder / f"{verb}.py").write_text(VERB.format(doc=f"Does {verb}.", verb=verb, log=log))
    monkeypatch.setattr(resolvers, "pipelines_dir", lambda: folder)
    for names in ("_TOWARDS_A_POTENTIAL", "_TRAIN"):
        monkeypatch.setattr(upstream, names, ())  # a small conf/ describes no potential
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def nnpx(project, monkeypatch, capfd):
    """Runs the command; returns exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nnpx", *arguments])
        code = cli.main()
        return code, *capfd.readouterr()

    return run


def calls(project):
    found = [line.split()[0] for line in (project / "calls").read_text().splitlines()]
    (project / "calls").write_text("")
    return found


def test_help_lists_every_pipeline_with_its_first_line(nnpx):
    code, out, _ = nnpx("--help")
    assert code == 0
    assert (
        "  label       Does label.\n  prepare     Does prepare.\n  train       Does train.\n  evaluate    Does evaluate.\n  compose  "
        in out
    )
    assert nnpx("train", "--help")[1].count("Does") == 1
    assert nnpx()[0] == 2


def test_help_shows_the_users_own_options_and_the_default_first(nnpx, project):
    (project / "mine" / "network").mkdir(parents=True)
    (project / "mine" / "network" / "a_big_one.yaml").write_text("_target_: conf_stubs.Network\n")
    assert "network           mlp, a_big_one\n" in nnpx("train", "--help", "--config-dir", "mine")[1]


def test_train_first_runs_what_it_builds_on_and_only_where_that_is_missing(nnpx, project):
    assert nnpx("train")[0] == 0
    assert calls(project) == ["label", "prepare", "train"]
    nnpx("train", "network.hidden=[8]")
    assert calls(project) == ["train"]
    nnpx("train", "seed=1")
    assert calls(project) == ["label", "prepare", "train"]
    nnpx("prepare", "seed=1")
    assert calls(project) == ["prepare"]


def test_a_changed_input_file_is_labelled_again(nnpx, project):
    (project / "mine.extxyz").touch()
    (project / "conf" / "data" / "mine.yaml").write_text("_target_: conf_stubs.File\npath: mine.extxyz\n")
    assert [nnpx("train", "data=mine")[0] for _ in range(2)] == [0, 0]
    assert calls(project) == ["label", "prepare", "train", "train"]
    (project / "mine.extxyz").write_text("another")
    os.utime(project / "mine.extxyz", (0, 0))  # as mv and rsync leave it
    nnpx("train", "data=mine")
    assert calls(project) == ["label", "prepare", "train"]


def test_a_stage_of_dvc_runs_alone(nnpx, project):
    nnpx("compose")
    assert nnpx("train", "--params", "params.yaml")[0] == 0
    assert calls(project) == ["train"]


@pytest.fixture
def closed(tmp_path):
    """A folder that nobody can write to, root included."""
    if os.geteuid() == 0:
        return Path("/proc")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    return folder


@pytest.mark.parametrize(("verb", "folder"), [("label", "data"), ("prepare", "data"), ("train", "models"), ("train", ".nnpx")])
@pytest.mark.parametrize("alone", [False, True])
def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(nnpx, project, closed, verb, folder, alone):
    nnpx("compose")
    (project / folder).symlink_to(closed)
    code, _, err = nnpx(verb, *(["--params", "params.yaml"] if alone else []))
    assert code == 2
    assert err.startswith(f"error: {folder}/: expected a folder to write to, found ")
    assert len(err.splitlines()) == 1
    assert calls(project) == []


def test_a_single_run_leaves_no_folders_of_hydra(nnpx, project):
    nnpx("train")
    assert not {"outputs", "multirun", ".hydra"} & {path.name for path in project.iterdir()}


def test_evaluate_without_a_potential_says_to_train_first(nnpx, project):
    code, _, err = nnpx("evaluate")
    assert (code, err) == (2, "error: models/potential.nnpx: expected a trained potential, found no such file. Run `nnpx train` first.\n")
    nnpx("train")
    assert nnpx("evaluate")[0] == 0


def test_every_error_is_a_line_of_its_own_and_nothing_runs(nnpx, project):
    code, out, err = nnpx("train", "descriptor=acfs", "network.hidden=64", "optimizer.warm=maybe")
    assert (code, out, calls(project)) == (2, "", [])
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["error", "descriptor"],
        ["error", "network.hidden"],
        ["error", "optimizer.warm"],
    ]


@pytest.mark.parametrize("words", [("train",), ("label",), ("check",), ("train", "-m", "seed=0,1")])
def test_choices_that_contradict_each_other_are_told_before_anything_is_labelled(words, tmp_path, monkeypatch, capfd):
    """The cutoff of the shipped experiment is 5 Å."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nnpx", *words, "descriptor.angular_radius=9"])
    assert cli.main() == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: descriptor.angular_radius: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("verb", ["train", "learn"])
def test_a_device_that_is_missing_is_told_before_anything_is_labelled(verb, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nnpx", verb, "trainer=gpu"])
    assert cli.main() == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: trainer: expected 1 of accelerator=cuda on this machine, found ")
    assert err.endswith("Choose trainer=cpu, or another machine.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "Did you mean train?"),
        (("descriptor=acsf",), "Name the verb first: nnpx train …"),
        (("train", "my.yaml"), "Run a composed experiment with --params my.yaml"),
        (("train", "seed", "3"), "Write seed=3."),
        (("train", "--epochs", "3"), "Write epochs=3: what belongs to the experiment has no dashes."),
        (("train", "--params", "nothing.yaml"), "expected a composed experiment, found no such file"),
        (("train", "--config-dir", "nowhere"), "expected a folder of YAML options, found no such folder"),
        (("train", "--params", "params.yaml", "-m"), "expected no -m, --cfg or --config-dir beside it"),
    ],
)
def test_a_wrong_command_line_is_one_line(nnpx, arguments, message):
    code, out, err = nnpx(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert message in err


def test_an_error_that_is_not_the_users_keeps_its_traceback(nnpx, project):
    (project / "pipelines" / "train.py").write_text('"""Breaks."""\ndef main(config, workspace):\n    raise RuntimeError("broken")\n')
    with pytest.raises(RuntimeError, match="broken"):
        nnpx("train")


def test_an_interrupt_ends_quietly(nnpx, project):
    (project / "pipelines" / "train.py").write_text('"""Waits."""\ndef main(config, workspace):\n    raise KeyboardInterrupt\n')
    assert nnpx("train")[0] == 130


def test_compose_writes_what_dvc_writes_byte_for_byte(nnpx, project):
    overrides = ["experiment=small", "optimizer.learning_rate=1e-5"]
    plugins = Path(cli.__file__).parent / "_plugins"
    compose_and_dump(project / "dvc.yaml", str(project / "conf"), None, "config", str(plugins), overrides)
    assert nnpx("compose", *overrides)[0] == 0
    assert (project / "params.yaml").read_bytes() == (project / "dvc.yaml").read_bytes()


def test_compose_writes_nothing_that_is_not_valid(nnpx, project):
    assert nnpx("compose", "network.hidden=64")[0] == 2
    assert not (project / "params.yaml").exists()


def test_a_params_file_older_than_conf_is_refused_until_it_is_composed_again(nnpx, project):
    nnpx("compose")
    assert nnpx("check", "--params", "params.yaml")[0] == 0
    old = (project / "reports" / "conf_hash.txt").read_text().strip()
    assert old == load_params(project / "params.yaml").conf_hash
    with (project / "conf" / "network" / "mlp.yaml").open("a") as file:
        file.write("# a comment\n")
    now = resolvers.conf_hash(project / "conf")
    code, _, err = nnpx("check", "--params", "params.yaml")
    assert code == 2
    assert err == (
        f"error: params.yaml: expected one composed from conf/ as it is now ({now}), found an older one ({old}). "
        "Run `nnpx compose [overrides]` or `dvc exp run [-S override]`, then this again.\n"
    )
    nnpx("compose")
    assert nnpx("check", "--params", "params.yaml")[0] == 0


def test_check_runs_nothing(nnpx, project):
    assert nnpx("check", "seed=3")[0] == 0
    assert calls(project) == []


def test_trusted_packages_are_named_on_the_command_line_and_leave_no_trace(nnpx, project, monkeypatch):
    monkeypatch.setenv("NNPX_TRUSTED", "")
    assert "trusted=[conf_stubs]" in nnpx("compose")[2]
    assert nnpx("compose", "trusted=[conf_stubs]")[0] == 0
    assert "trusted" not in OmegaConf.load(project / "params.yaml")


def test_cfg_shows_the_experiment(nnpx, project):
    code, out, _ = nnpx("train", "--cfg", "job", "--resolve", "seed=7")
    assert code == 0
    assert OmegaConf.create(out) == compose(["seed=7"])
    assert calls(project) == []


def test_every_job_of_a_sweep_works_in_its_own_folder(nnpx, project):
    code, _, err = nnpx("train", "-m", "network.hidden=[8],[16]")
    assert (code, err) == (0, "")
    (sweep,) = (project / "multirun").iterdir()
    assert sweep.name.startswith("quickstart-")
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["0", "1"]
    assert calls(project) == ["label", "prepare", "train", "train"]
    assert (sweep / "0" / "models" / "potential.nnpx").is_file()
    assert not (project / "models").exists()


def test_jobs_of_a_sweep_borrow_the_projects_data_where_they_fit(nnpx, project):
    nnpx("prepare")
    calls(project)
    nnpx("train", "-m", "seed=0,1")
    assert calls(project) == ["label", "prepare", "train", "train"]
    assert json.loads((project / "data" / "labels.json").read_text())["config"] == upstream.stamp("label", compose())


def test_a_sweep_is_checked_as_a_whole_before_its_first_job(nnpx, project):
    code, out, err = nnpx("train", "-m", "descriptor=acsf,acfs", "seed=0,-1")
    assert (code, out, calls(project)) == (2, "", [])
    assert sorted(line.split(": ")[1] for line in err.splitlines()) == ["descriptor", "seed"]
    assert not (project / "multirun").exists()


def test_a_job_that_fails_is_told_by_its_overrides(nnpx, project):
    text = (
        '"""Fails."""\nfrom nnpx.errors import DataError\n'
        "def main(config, workspace):\n    if config.seed:\n"
        '        raise DataError("mine.extxyz", expected="labels", found="none", do="Add them.")\n'
    )
    (project / "pipelines" / "train.py").write_text(text)
    code, _, err = nnpx("train", "-m", "seed=0,1")
    assert code == 1
    assert "error: job 1 (seed=1): mine.extxyz: expected labels, found none. Add them." in err
