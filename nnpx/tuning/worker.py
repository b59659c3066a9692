"""What a process of a search does: ask for a trial, train, tell."""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from nnpx.config import compose, validate
from nnpx.configuration import resolvers
from nnpx.following import Stopped, followed
from nnpx.processes import end_with_parent
from nnpx.tuning.outcome import read_outcome
from nnpx.tuning.search import Search
from nnpx.tuning.space import overrides_of
from nnpx.tuning.store import CONTINUES, FAILURE, RUN_ID, give_back, next_trial, note_worker, open_study
from nnpx.upstream import borrow
from nnpx.verbs import run_verb


@dataclass(frozen=True)
class Order:
    """All that a worker has to know; small, so that a process can be given it.

    Attributes:
        folder: the study's.
        project: the folder whose data the trials borrow.
        search: what varies, and how it is searched.
        overrides: of every trial, before its own.
        config_dir: the user's own options.
        max_epochs: of the longest training in the space.
        conf: what conf/ was when the search was checked.
        deadline_s: on the monotonic clock; no trial starts later.
        carry_out: trains one trial, described by its own overrides, in a folder.
    """

    folder: Path
    project: Path
    search: Search
    overrides: tuple[str, ...]
    config_dir: Path | None
    max_epochs: int
    conf: str
    deadline_s: float
    carry_out: Callable[["Order", list[str], Path], None]


def train(order: Order, overrides: list[str], folder: Path) -> None:
    """Composes the experiment of a trial and trains it in its own folder, on the project's data where they fit it."""
    config = compose([*order.overrides, *overrides], order.config_dir)
    validate(config, config_dir=order.config_dir)
    borrow(config, order.project, folder)
    run_verb("train", config, folder, alone=False)


def conf_now(config_dir: Path | None) -> str:
    """What all options are at this moment."""
    return "-".join(resolvers.conf_hash(folder) for folder in (resolvers.conf_dir(), config_dir) if folder is not None)


def is_over(order: Order) -> bool:
    """Whether no further trial may start: it is late, or the options are not those that were checked."""
    return time.monotonic() >= order.deadline_s or conf_now(order.config_dir) != order.conf


def work(order: Order) -> None:
    """The life of a worker process."""
    os.setsid()  # Ctrl-C reaches the command alone, which then ends its workers
    signal.signal(signal.SIGTERM, _interrupt)
    end_with_parent()
    os.environ.setdefault("DVC_ROOT", str(order.project))  # all trials log to the project's one store
    try:
        search(order)
    except KeyboardInterrupt:
        sys.exit(0)


def search(order: Order) -> None:
    """Asks, trains and tells until the search has all its trials or is over."""
    study = open_study(order.folder, order.search)
    if order.search.pruner is not None:
        study.pruner = order.search.pruner.build(order.max_epochs)
    while not is_over(order) and (trial := next_trial(study, order.search, order.folder)) is not None:
        note_worker(trial, os.getpid())
        _run(study, trial, order)


def _run(study: optuna.Study, trial: Trial, order: Order) -> None:
    try:
        study.tell(trial, _values(trial, order))
    except Stopped:
        study.tell(trial, state=TrialState.PRUNED)
    except KeyboardInterrupt:
        give_back(study, study._storage.get_trial(trial._trial_id), killed=False)
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, it is this trial's alone
        trial.set_user_attr(FAILURE, str(error) or type(error).__name__)
        study.tell(trial, state=TrialState.FAIL)


def _values(trial: Trial, order: Order) -> list[float]:
    """Trains and reads the objectives.

    Raises:
        ValueError: if one is missing or NaN.
    """
    folder = order.folder / "trials" / str(trial.number)
    before = order.folder / "trials" / str(trial.user_attrs.get(CONTINUES))
    if before.is_dir() and not folder.exists():
        before.rename(folder)  # with its checkpoints: the training goes on where it was killed
    folder.mkdir(parents=True, exist_ok=True)
    epochs = int(trial.params.get("trainer.max_epochs", order.max_epochs))
    with _output_to(folder / "log.txt"), followed(by=partial(_look, trial, order.search.curve, epochs)):
        order.carry_out(order, overrides_of(trial.params), folder)
    found = read_outcome(folder)
    values = {name: found.get(name, math.nan) for name in order.search.objectives}
    if useless := [name for name, value in values.items() if not math.isfinite(value)]:
        said = ", ".join(f"{name} is {found.get(name, 'missing')}" for name in useless)
        raise ValueError(said)
    return list(values.values())


def _look(trial: Trial, curve: str | None, max_epochs: int, run: Any, report: Any) -> None:
    """Follows the first member of a training; raises `Stopped` where the pruner sees no prospects."""
    if report.member != 0:
        return
    if RUN_ID not in trial.user_attrs:
        trial.set_user_attr(RUN_ID, run.id)
        run.set_tag("trial", str(trial.number))
    if curve is None:
        return
    trial.report(getattr(report.epoch, curve), step=report.epoch.epoch)
    if report.epoch.epoch < max_epochs and trial.should_prune():
        run.set_tag("pruned", f"after epoch {report.epoch.epoch}")
        raise Stopped


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything that this process and those that it starts write to the terminal goes to a file instead."""
    kept = {stream.fileno(): os.dup(stream.fileno()) for stream in (sys.__stdout__, sys.__stderr__) if stream is not None}
    with path.open("ab") as file:
        _flush()
        for number in kept:
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            _flush()
            for number, original in kept.items():
                os.dup2(original, number)
                os.close(original)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
