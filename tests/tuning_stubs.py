"""Trainings that take no time: a search is tested without any physics."""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnpx.config import compose, instantiate
from nnpx.following import tell_follower
from nnpx.tuning import run, worker
from nnpx.tuning.worker import Order

#: the learning rate with the smallest error
BEST = 3e-3


class Remembered:
    """A run that keeps its tags in a file of the trial's folder."""

    id = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set_tag(self, key: str, value: str) -> None:
        with (self.folder / "tags").open("a") as file:
            file.write(f"{key}={value}\n")


def settings(overrides: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in overrides)


def finish(folder: Path, **outcome: float) -> None:
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "models" / "potential.nnpx").write_text("weights")
    named = {f"valid/{key}" if key.endswith("mae") else key: value for key, value in outcome.items()}
    (folder / "models" / "training.json").write_text(json.dumps({"outcome": named}))


def parabola(order: Order, overrides: list[str], folder: Path) -> None:
    """An error that is smallest at one learning rate, log-parabolic around it; larger networks cost more."""
    given = settings(overrides)
    sys.stdout.write("a training speaks\n")
    distance = math.log10(float(given["optimizer.learning_rate"]) / BEST)
    hidden = json.loads(given.get("network.hidden", "[1]"))
    finish(folder, forces_mae=1.0 + distance**2 + 1.0 / hidden[0], us_per_atom=float(hidden[0]))


def curve(order: Order, overrides: list[str], folder: Path) -> None:
    """The parabola reached in as many epochs as there may be; every epoch is told."""
    parabola(order, overrides, folder)
    final = json.loads((folder / "models" / "training.json").read_text())["outcome"]["valid/forces_mae"]
    epochs = int(settings(overrides).get("trainer.max_epochs", order.max_epochs))
    for epoch in range(1, epochs + 1):
        row = SimpleNamespace(epoch=epoch, valid_forces_mae=final * (1 + 1 / epoch))
        tell_follower(Remembered(folder), SimpleNamespace(member=1, epoch=SimpleNamespace(epoch=epoch, valid_forces_mae=math.nan)))
        tell_follower(Remembered(folder), SimpleNamespace(member=0, epoch=row))
    (folder / "finished").touch()


def troubled(order: Order, overrides: list[str], folder: Path) -> None:
    """Trial 1 gives NaN, trial 2 raises, trial 3 leaves the error out."""
    parabola(order, overrides, folder)
    match folder.name:
        case "1":
            finish(folder, forces_mae=math.nan)
        case "2":
            raise RuntimeError("the loss is not finite")
        case "3":
            finish(folder, us_per_atom=1.0)


def slow(order: Order, overrides: list[str], folder: Path) -> None:
    """Waits for a file `go` in the project, and keeps half of the work in its folder."""
    (folder / "begun").write_text(str(os.getpid()))
    while not (order.project / "go").exists():
        time.sleep(0.02)
    parabola(order, overrides, folder)


def deadly(order: Order, overrides: list[str], folder: Path) -> None:
    """The first point kills its process whenever it is tried."""
    first = order.folder / "first"
    if not first.exists():
        first.write_text(" ".join(overrides))
    if first.read_text() == " ".join(overrides):
        os.kill(os.getpid(), signal.SIGKILL)
    parabola(order, overrides, folder)


def tracked(order: Order, overrides: list[str], folder: Path) -> None:
    """Has a run, as every training has."""
    tracker = instantiate(compose().tracking, workspace=folder)
    with tracker.start("training", parent=None, tags={}) as run:
        parabola(order, overrides, folder)
        tell_follower(run, SimpleNamespace(member=0, epoch=SimpleNamespace(epoch=1, valid_forces_mae=1.0)))


def hopeless(order: Order, overrides: list[str], folder: Path) -> None:
    """Never ends well."""
    raise RuntimeError("never")


def edits(order: Order, overrides: list[str], folder: Path) -> None:
    """Somebody edits an option while it trains."""
    parabola(order, overrides, folder)
    with (order.project / "conf" / "tune" / "mine.yaml").open("a") as file:
        file.write("# edited\n")


def use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials call the function of this file; nothing is prepared."""
    monkeypatch.setattr(worker, "train", globals()[name])
    monkeypatch.setattr(run, "run_verb", lambda verb, config, workspace, alone: None)


def main() -> int:
    """The command line with the trainings of this file, for a process of its own."""
    from nnpx import cli

    with pytest.MonkeyPatch.context() as monkeypatch:
        use(os.environ["STUB"], monkeypatch)
        return cli.main()


if __name__ == "__main__":
    import tuning_stubs

    sys.exit(tuning_stubs.main())
