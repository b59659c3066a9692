"""A search from its first check to its last table."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial
from rich.console import Console

from nnpx.choices import PARENT_VARIABLE
from nnpx.config import instantiate
from nnpx.configuration.overrides import relative
from nnpx.errors import ConfigError
from nnpx.locks import alone
from nnpx.processes import environment
from nnpx.report import as_rich
from nnpx.tracking import Run, Tracker
from nnpx.tuning import worker
from nnpx.tuning.best import check_name, write_best
from nnpx.tuning.checks import check_space, study_name
from nnpx.tuning.crew import search_in_processes
from nnpx.tuning.results import write_report
from nnpx.tuning.search import Declared
from nnpx.tuning.space import overrides_of
from nnpx.tuning.store import RUN_ID, best_trials, n_left, open_study
from nnpx.tuning.watch import Watch
from nnpx.tuning.worker import Order, conf_now
from nnpx.verbs import run_verb


def tune(declared: Declared, overrides: Sequence[str], config_dir: Path | None, project: Path, *, promote: bool) -> int:
    """Searches until the study has its trials; shows, writes and records what came out.

    Args:
        declared: the search.
        overrides: of every trial.
        config_dir: the user's own options.
        project: the folder that holds data/; the study lies in its .nnpx/tune/.
        promote: whether the best trial becomes `experiment=best` and the candidate of the registry.

    Returns:
        The exit code: 1 where no trial has completed.

    Raises:
        ConfigError: with all errors of the space, before anything runs.
    """
    conf, search = conf_now(config_dir), declared.search
    configs = check_space(declared, overrides, config_dir)
    order = Order(
        folder=project / ".nnpx" / "tune" / study_name(declared, configs, project),
        project=project,
        search=search,
        overrides=tuple(overrides),
        config_dir=config_dir,
        max_epochs=max(int(config.trainer.max_epochs) for config in configs),
        conf=conf,
        deadline_s=math.inf if search.timeout_s is None else time.monotonic() + search.timeout_s,
        carry_out=worker.train,
    )
    if promote:
        check_name(overrides)
    with alone(order.folder, on="this search", do="Wait for it, or end it first. More hands: tune.n_workers=…"):
        run_verb("prepare", configs[0], project, alone=False)
        return _search(order, declared, configs[0], promote=promote)


def _search(order: Order, declared: Declared, config: DictConfig, *, promote: bool) -> int:
    console, study = Console(), open_study(order.folder, order.search)
    console.print(f"tune: {relative(order.folder)}", highlight=False, soft_wrap=True)
    tracker = instantiate(config.tracking, workspace=order.project)
    with _run_of(study, tracker, declared) as run, environment({PARENT_VARIABLE: run.id} if run.id else {}):
        run.log_text(OmegaConf.to_yaml(config), "config.yaml")
        try:
            with Watch(console, study, order.search, run) as watch:
                search_in_processes(order, study, watch.look)
        finally:
            _conclude(study, declared, order.folder, config, run)
    if n_left(study, order.search) and conf_now(order.config_dir) != order.conf:
        do = "Run the same command again: what has become another search gets a new name."
        raise ConfigError("conf/", expected="options that stay as they are during a search", found="changed files", do=do)
    best = best_trials(study, order.search.objectives)
    if promote and best:
        _promote(best[0], order, config, tracker, console)
    for line in tracker.dashboard():
        console.print(f"dashboard  {line}", highlight=False, soft_wrap=True, markup=False)
    return 0 if best else 1


@contextmanager
def _run_of(study: optuna.Study, tracker: Tracker, declared: Declared) -> Iterator[Run]:
    """The run of the search, the same for every command that works on it."""
    tracker.prepare()
    known = study.user_attrs.get(RUN_ID)
    sampler = type(declared.search.sampler).__name__
    tags = {"study": study.study_name, "sampler": sampler}
    with tracker.resume(known) if known else tracker.start(f"tune {study.study_name}", parent=None, tags=tags) as run:
        if run.id != known:
            study.set_user_attr(RUN_ID, run.id)
            run.log_params(declared.content())
        yield run


def _conclude(study: optuna.Study, declared: Declared, folder: Path, config: DictConfig, run: Run) -> None:
    """Tables on the terminal, a page in the study's folder, both in the run."""
    console = Console()
    page, tables = write_report(study, declared, folder, OmegaConf.to_yaml(config))
    for table in tables:
        console.print(as_rich(table))
    run.log_file(page)
    for figure in sorted((folder / "figures").glob("*.svg")):
        run.log_file(figure, "figures")
    console.print(f"report     {relative(page)}", highlight=False, soft_wrap=True)


def _promote(best: FrozenTrial, order: Order, config: DictConfig, tracker: Tracker, console: Console) -> None:
    """The best trial as an experiment, and its potential as the candidate."""
    told = ", ".join(f"{key} {value:.6g}" for key, value in zip(order.search.objectives, best.values, strict=True))
    origin = (
        f"The best of a search: {told} (trial {best.number} of {order.folder.name}, run {best.user_attrs.get(RUN_ID) or 'not recorded'})"
    )
    path = write_best([*order.overrides, *overrides_of(best.params)], order.config_dir, order.project, origin)
    with tracker.resume(best.user_attrs.get(RUN_ID, "")) as run:
        run.log_model(order.folder / "trials" / str(best.number) / "models" / "potential.nnpx", name=config.name, alias="candidate")
    console.print(f"promoted   {relative(path)}: {told}", highlight=False, soft_wrap=True)
