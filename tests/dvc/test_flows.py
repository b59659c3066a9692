"""What a user does with DVC, on a project as they have it."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from projects import Project, write_copper

pytestmark = pytest.mark.slow
STAGES = ["check", "label", "prepare", "train", "evaluate", "simulate"]
MARK = 123.0


def ran(said: str) -> list[str]:
    """The stages that did their work anew."""
    return re.findall(r"Running stage '(\w+)'", said)


def runs(project: Project) -> list[tuple[str, str]]:
    """Name and status of every run in the project's store."""
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        return sorted(store.execute("select name, status from runs"))


def wait_for_the_queue(project: Project, seconds: float = 400) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said = project.run("dvc", "queue", "status")
        if not re.search("Queued|Running", said):
            return said
        time.sleep(3)
    return pytest.fail(f"the queue does not end:\n{said}")


def test_a_second_repro_does_nothing(project: Project) -> None:
    said = project.run("dvc", "repro")
    assert ran(said) == []
    assert "up to date" in said


def test_an_experiment_reruns_only_what_depends_on_its_choice(project: Project) -> None:
    said = project.run("dvc", "exp", "run", "--name", "short", "-S", "descriptor.angular_radius=3.0")
    assert ran(said) == ["train", "evaluate", "simulate"]
    assert "angular_radius: 3.0" in (project.folder / "params.yaml").read_text()
    changed = project.run("dvc", "metrics", "diff", "HEAD", "short", "--targets", "reports/evaluation/metrics.json", "--json")
    assert re.search(r'"test\.forces\.mae": {"old": [\d.e-]+, "new": [\d.e-]+', changed)
    assert "descriptor.angular_radius" in project.run("dvc", "params", "diff", "HEAD")
    # going back is a matter of the cache
    again = project.run("dvc", "exp", "run", "-S", "descriptor.angular_radius=3.5")
    assert ran(again) == []
    assert "is cached - skipping run" in again
    assert project.run("git", "diff", "--stat", "HEAD", "--", "dvc.lock") == ""


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("md.duration_ps=0.01", ["simulate"]),
        ("data.split.n_test=0.2", ["label", "prepare"]),
        ("network.hidden=[8]", ["train"]),
        ("initial=data/inputs/first.nnpx", ["train"]),
        ("tracking.flush_every_s=1.0", []),
    ],
)
def test_a_choice_concerns_the_stages_that_read_it(project: Project, override: str, stages: list[str]) -> None:
    project.run("nnpx", "compose", override)
    assert list(json.loads(project.run("dvc", "status", "--json"))) == stages


def test_queued_experiments_run_beside_each_other_and_land_in_the_one_store(project: Project) -> None:
    project.run("dvc", "exp", "run", "--queue", "-S", "seed=1,2")
    project.run("dvc", "queue", "start", "-j", "2")
    said = wait_for_the_queue(project)
    assert said.count("Success") == 2, project.run("dvc", "queue", "logs", re.findall(r"^(\w+)", said, re.MULTILINE)[1], expect=None)
    names = [("tiny", "FINISHED"), ("tiny", "FINISHED"), ("tiny seed=1", "FINISHED"), ("tiny seed=2", "FINISHED")]
    assert runs(project) == names
    shown = project.run("dvc", "exp", "show", "--csv", "--num", "1")
    assert len(re.findall("Success", shown)) == 2
    assert "!" not in shown.replace("!=", "")
    # the copies in which they ran are gone or empty of stores
    assert not list((project.folder / ".dvc" / "tmp").rglob("mlflow.db"))


def test_curves_of_two_revisions_are_drawn_without_a_network(project: Project) -> None:
    project.run("dvc", "exp", "run", "--name", "fast", "-S", "optimizer.learning_rate=0.03")
    assert "reports/plots.html" in project.run("nnpx", "plots", "HEAD", "fast")
    page = (project.folder / "reports" / "plots.html").read_text()
    assert page.count("<figure>") == 5
    assert page.count(">HEAD<") >= 5
    assert page.count(">fast<") >= 5
    assert "://" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")
    compared = project.run("dvc", "plots", "diff", "HEAD", "fast", "--json")
    assert compared.count('"revisions": ["HEAD", "fast"]') == 5
    refused = project.run("nnpx", "plots", "nowhere", expect=2)
    assert refused.startswith("error: nowhere: expected a version of the data, found unknown Git revision 'nowhere'.")


def test_a_training_killed_in_its_middle_goes_on_and_ends_with_the_same_weights(project: Project) -> None:
    undisturbed = _trained(project, "trainer.max_epochs=60")
    weights = (project.folder / "models" / "potential.nnpx").read_bytes()
    assert ran(undisturbed)[0] == "train"
    # the same again, with nothing remembered
    shutil.rmtree(project.folder / ".nnpx" / "training")
    project.run("git", "checkout", "HEAD", "dvc.lock")
    command = [str(Path(sys.executable).parent / "dvc"), "repro", "--no-run-cache", "train"]
    with (project.folder / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=project.folder, env=project.environment(), stdout=said, stderr=said, start_new_session=True)
        _wait_for_epoch(project, 5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    stopped_at = _epoch(project)
    assert 5 <= stopped_at < 60
    assert not (project.folder / "models" / "potential.nnpx").exists()
    _mark_the_checkpoint(project)
    again = project.run("dvc", "repro", "--no-run-cache", "train")
    assert ran(again) == ["train"]
    assert _first_loss(project) == MARK
    assert _tensors(weights) == _tensors((project.folder / "models" / "potential.nnpx").read_bytes())


def _trained(project: Project, override: str) -> str:
    project.run("nnpx", "compose", override)
    return project.run("dvc", "repro", "train")


def _epoch(project: Project) -> int:
    found = list(project.folder.glob(".nnpx/training/*/member-*.checkpoint"))
    return int(torch.load(found[0], weights_only=True)["epoch"]) if found else 0


def _mark_the_checkpoint(project: Project) -> None:
    """Change the first row of its learning curve, which no weight depends on: a training that begins anew does not know it."""
    (path,) = project.folder.glob(".nnpx/training/*/member-*.checkpoint")
    saved = torch.load(path, weights_only=True)
    saved["curve"][0]["train_loss"] = MARK
    torch.save(saved, path)


def _first_loss(project: Project) -> float:
    (member,) = json.loads((project.folder / "models" / "training.json").read_text())["members"]
    return float(member["curve"][0]["train_loss"])


def _wait_for_epoch(project: Project, epoch: int) -> None:
    for _ in range(1200):
        if _epoch(project) >= epoch:
            return
        time.sleep(0.05)
    pytest.fail(f"no epoch {epoch} within a minute:\n{(project.folder / 'said').read_text()}")


def _tensors(content: bytes) -> dict[str, bytes]:
    from safetensors import deserialize

    return {name: bytes(tensor["data"]) for name, tensor in deserialize(content)}


def test_new_structures_in_the_input_are_labelled_and_the_difference_is_told(project: Project) -> None:
    write_copper(project.folder / "data" / "inputs" / "copper.extxyz", 20)
    said = project.run("dvc", "repro", "prepare")
    assert ran(said) == ["label", "prepare"]
    told = project.run("nnpx", "data", "diff", "HEAD", expect=1)
    assert re.search(r"added +│ +4 ", told)
    assert re.search(r"removed +│ +0 ", told)
