"""A recorded training can be made again, and what differs is said."""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ase.io import read, write
from small import ethanols

from nnpx import artifact, cli
from nnpx.provenance import git_state
from nnpx.reproduction import verdict
from nnpx.reproduction.place import build
from nnpx.reproduction.recorded import find
from nnpx.runs import all_runs, project_tracker

TRAIN = ["train", "data=extxyz", "data.path=mine.extxyz", "network.hidden=[4]", "trainer.max_epochs=3", "ensemble.n_members=2"]
TRAIN += ["ensemble.n_processes=1", "radial.n_functions=4", "descriptor.angular.n_shells=2", "tracking.flush_every_s=0"]


def git(folder: Path, *words: str) -> None:
    own = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *own, "-C", str(folder), *words], check=True, capture_output=True)


def nnpx(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["nnpx", *words])
    return cli.main()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A project under git in which two members were trained on 20 molecules, evaluated, and which nobody changes."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("GIT_") or name in ("MLFLOW_TRACKING_URI", "DVC_ROOT")]:
            monkeypatch.delenv(name)
        write(folder / "mine.extxyz", ethanols(20))
        (folder / ".gitignore").write_text("\n".join([".nnpx/", "mlflow.db*", "mlartifacts/", "data/", "models/", "reports/", "*.extxyz"]))
        (folder / "notes.txt").write_text("first\n")
        git(folder, "init")
        git(folder, "add", ".")
        git(folder, "commit", "-m", "one")
        (folder / "notes.txt").write_text("changed\n")
        (folder / "new.py").write_text("x = 1\n")
        shutil.copy(empty_database, folder / "mlflow.db")
        assert nnpx(folder, monkeypatch, *TRAIN) == 0
        assert nnpx(folder, monkeypatch, "evaluate", *TRAIN[1:]) == 0
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it whose store is its own."""
    for name in [name for name in os.environ if name.startswith("GIT_") or name in ("MLFLOW_TRACKING_URI", "DVC_ROOT")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def run_id(project: Path) -> str:
    return json.loads((project / "models" / "training.json").read_text())["run_id"]


def test_a_run_keeps_everything_that_it_came_from(project):
    recorded = find(run_id(project)[:10], project)
    assert recorded.commit == git_state(project)["git_commit"]
    assert "+changed" in recorded.diff
    assert "+x = 1" in recorded.diff
    assert recorded.config["data"]["path"] == "mine.extxyz"
    assert recorded.data_md5 == json.loads((project / "data" / "prepared" / "card.json").read_text())["md5"]
    assert recorded.versions["torch"] == verdict.requirements()["torch"]
    assert recorded.threads > 0
    assert recorded.provenance["command"].startswith("nnpx train data=extxyz")
    assert [len(curve) for curve in recorded.curves] == [3, 3]
    tags = all_runs(project_tracker(project))[-1].data.tags
    assert {"device", "test_md5", "command", "git_commit", "nnpx_version"} <= set(tags)


def test_a_training_of_the_same_code_and_data_is_identical_and_leaves_the_project_alone(project, monkeypatch, capfd):
    before = (project / "models" / "potential.nnpx").read_bytes()
    assert nnpx(project, monkeypatch, "reproduce", run_id(project)[:8]) == 0
    out = capfd.readouterr().out
    assert "reproduce: identical: weights and learning curves of 2 members agree to the last bit" in out
    assert "lines of uncommitted changes applied" in out
    assert (project / "models" / "potential.nnpx").read_bytes() == before
    place = project / ".nnpx" / "reproduce" / run_id(project)[:12]
    assert (place / "notes.txt").read_text() == "changed\n"
    assert (place / "new.py").read_text() == "x = 1\n"
    assert verdict.weight_change(project / "models" / "potential.nnpx", place / "models" / "potential.nnpx") == 0
    again = all_runs(project_tracker(project))[0]
    assert again.data.tags["reproduces"] == run_id(project)
    assert again.data.tags["outcome"] == "identical"
    assert "test/forces_mae" in again.data.metrics


def test_a_training_that_took_the_place_of_what_it_started_from_is_made_again_from_the_copy_that_its_run_keeps(project, monkeypatch, capfd):
    write(project / "mine.extxyz", ethanols(20, seed=1))
    assert nnpx(project, monkeypatch, *TRAIN, "initial=models/potential.nnpx") == 0
    run = next(run for run in all_runs(project_tracker(project)) if run.info.run_id == run_id(project))
    assert run.data.params["initial"] == "models/potential.nnpx"
    assert nnpx(project, monkeypatch, "reproduce", run_id(project)) == 0
    out = capfd.readouterr().out
    assert "reproduce: initial: models/potential.nnpx, as the run keeps it" in out
    assert "reproduce: identical" in out
    assert nnpx(project, monkeypatch, "reproduce", "models/potential.nnpx") == 2
    told = "models/potential.nnpx: expected the potential that this training started from, with the hash"
    assert told in capfd.readouterr().err


@pytest.mark.slow
def test_changed_data_that_nobody_kept_are_named(project, monkeypatch, capfd):
    write(project / "mine.extxyz", ethanols(20, seed=1))
    (project / "data" / "prepared" / "train.extxyz").unlink()
    assert nnpx(project, monkeypatch, "reproduce", run_id(project)) == 1
    out = capfd.readouterr().out
    assert "data: train.extxyz has the hash" in out
    assert "reproduce: different:" in out
    assert "test/forces_mae" in out


@pytest.mark.slow
def test_lost_data_are_made_again_from_their_configuration(project, monkeypatch, capfd):
    shutil.rmtree(project / "data")
    assert nnpx(project, monkeypatch, "reproduce", "models/potential.nnpx") == 0
    out = capfd.readouterr().out
    assert "data: labelled and prepared again" in out
    assert "reproduce: identical" in out


def test_a_changed_version_is_said(project, monkeypatch):
    recorded = find(run_id(project), project)
    assert verdict.environment(recorded) == []
    installed = {**verdict.requirements(), "ase": "0.1"}
    monkeypatch.setattr(verdict, "requirements", lambda: installed)
    assert verdict.environment(recorded) == [f"environment: ase {recorded.versions['ase']} recorded, 0.1 installed"]


def test_an_unknown_run_is_told_with_the_nearest(project, monkeypatch, capsys):
    known = run_id(project)[:8]
    typo = known[:-1] + ("0" if known[-1] != "0" else "1")
    assert nnpx(project, monkeypatch, "reproduce", typo) == 2
    err = capsys.readouterr().err
    assert err == f"error: {typo}: expected a run of the project's database, found none whose id begins so. Did you mean {known}?\n"


def test_a_commit_that_no_longer_exists_is_told(project, monkeypatch, capsys):
    shutil.rmtree(project / ".git")
    git(project, "init")
    git(project, "commit", "--allow-empty", "-m", "another history")
    assert nnpx(project, monkeypatch, "reproduce", run_id(project)) == 2
    assert "in this repository, found no such commit. Fetch it (`git fetch --all --tags`)" in capsys.readouterr().err


def test_a_potential_that_is_no_run_of_a_training_is_refused(project, monkeypatch, capsys):
    with project_tracker(project).start("sweep", parent=None, tags={}) as sweep:
        pass
    assert nnpx(project, monkeypatch, "reproduce", sweep.id) == 2
    assert "expected a run that recorded config.yaml and lineage.json" in capsys.readouterr().err


def test_weights_that_differ_by_a_last_digit_are_not_identical(project, tmp_path):
    path = project / "models" / "potential.nnpx"
    ensemble = artifact.load(path)
    header = artifact.read_header(path)
    with_noise = tmp_path / "other.nnpx"
    next(ensemble.members[0].parameters()).data.view(-1)[0] += 1e-7
    words = {key: header[key] for key in ("config", "card", "provenance", "training")}
    artifact.save(with_noise, ensemble, **words)
    assert 0 < verdict.weight_change(path, with_noise) < 1e-6


def test_curves_that_part_are_told_by_the_epoch():
    first, second = ({"epoch": epoch, "valid_loss": loss, "wall_s": 1.0} for epoch, loss in ((1, 1.0), (2, 0.5)))
    start = {"epoch": 0, "valid_loss": 2.0}
    assert verdict.first_departure([[first, second]], [[first, {**second, "wall_s": 2.0}]]) is None
    assert verdict.first_departure([[first, second]], [[first, {**second, "valid_loss": 0.4}]]) == 2
    assert verdict.first_departure([[first, second]], [[first]]) == verdict.first_departure([[first]], [[first, second]]) == 2
    assert verdict.first_departure([[start, first]], [[start, {**first, "valid_loss": 0.9}]]) == 1


def test_outside_of_git_the_installed_code_is_used(tmp_path, trained, monkeypatch):
    recorded = find("models/potential.nnpx", trained)
    folder = tmp_path / "plain"
    folder.mkdir()
    place = build(recorded, folder, folder / ".nnpx" / "reproduce" / "x")
    assert place.notes == ["code: this project is not under git any more", "code: nnpx as it is installed"]
    assert place.code is None
    assert place.differences == ["code: there were uncommitted changes, which were not recorded in full"]
    other = dataclasses.replace(recorded, provenance={**recorded.provenance, "code": "0" * 12})
    assert "code: the installed nnpx is not the one that was recorded" in build(other, folder, folder / "x").differences[-1]
    assert len(read(trained / "mine.extxyz", index=":")) == 20
