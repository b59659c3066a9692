"""Hydra's own command line, behind a check: sweeps over any launcher, and `--cfg`."""

import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import hydra
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from nnpx import resolvers
from nnpx.config import compose, fingerprint, problems_of, validate
from nnpx.errors import ConfigError, NNPXError
from nnpx.overrides import parse, readable
from nnpx.schema import raise_all
from nnpx.upstream import borrow, check_choices
from nnpx.verbs import run_verb


def sweep(verb: str, overrides: Sequence[str], config_dir: Path | None) -> int:
    """Runs a verb on every combination of the overrides, each job in its own folder, after all of them have been checked.

    Raises:
        ConfigError: with the errors of all jobs, before the first one starts.
    """
    words = list(overrides)
    name = _check_jobs(verb, words, config_dir)
    if not any(word.startswith("hydra.sweep.dir=") for word in words):
        # the same sweep has the same folder: what was killed goes on where it stood
        words.append(f"hydra.sweep.dir=multirun/{re.sub(r'[^A-Za-z0-9._-]', '_', name)}-{fingerprint(verb, list(overrides))[:6]}")
    os.environ.setdefault("DVC_ROOT", str(Path.cwd()))  # all jobs log to the project's one store
    _hydra([*words, f"hydra.job.name={verb}", "--multirun"], config_dir, partial(_job, verb, str(Path.cwd())))
    return 0


def show(overrides: Sequence[str], config_dir: Path | None, what: str, *, resolve: bool, package: str | None) -> int:
    """Prints the composed experiment (`--cfg job`), Hydra's own part of it (`hydra`) or both (`all`).

    Raises:
        ConfigError: if it is not valid.
    """
    validate(compose(overrides, config_dir), config_dir=config_dir)
    flags = ["--cfg", what, *(["--resolve"] if resolve else []), *(["--package", package] if package else [])]
    _hydra([*overrides, *flags], config_dir, _nothing)
    return 0


def jobs_of(overrides: Sequence[str], config_dir: Path | None) -> list[list[str]]:
    """The overrides of every job of a grid.

    Raises:
        ConfigError: if an override cannot be read.
    """
    parse(overrides)
    with initialize_config_dir(str(resolvers.conf_dir()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        jobs: list[list[str]] = BasicSweeper.split_arguments(parser.parse_overrides(list(overrides)), None)[0]
    return jobs


def _check_jobs(verb: str, overrides: Sequence[str], config_dir: Path | None) -> str:
    """Composes and checks the whole grid; returns the name of its first experiment."""
    parse(overrides)
    if any(word.startswith("hydra/sweeper") for word in overrides):
        compose([str(word.input_line) for word in parse(overrides) if not word.is_sweep_override()], config_dir)
        return "search"  # a search chooses its jobs as it goes; each is checked when it starts
    problems: dict[str, ConfigError] = {}
    name = ""
    for job in jobs_of(overrides, config_dir):
        try:
            config = compose(job, config_dir)
            validate(config, config_dir=config_dir)
            check_choices(verb, config)
            name = name or str(config.name)
        except ConfigError as error:
            problems.update({str(problem): problem for problem in problems_of(error)})
    raise_all(list(problems.values()))
    return name


def _job(verb: str, project: str, config: DictConfig) -> None:
    """One job of a sweep, in whatever process the launcher runs it."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        multiprocessing.set_start_method("spawn", force=True)  # joblib's own method is unknown to the processes that a job starts
    resolvers.register()
    OmegaConf.resolve(config)
    workspace = Path(HydraConfig.get().runtime.output_dir)
    try:
        validate(config)
        borrow(config, Path(project), workspace)
        run_verb(verb, config, workspace, alone=False)
    except NNPXError as error:
        hydra_config = HydraConfig.get()
        sys.stderr.write(f"error: job {hydra_config.job.num} ({' '.join(hydra_config.overrides.task)}): {error}\n")
        raise


def _nothing(config: DictConfig) -> None:
    """What Hydra runs when it is only asked for words."""


def _hydra(arguments: Sequence[str], config_dir: Path | None, task: object) -> None:
    """Hydra's own entry point, with its errors raised instead of printed."""
    flags = ["--config-dir", str(config_dir)] if config_dir is not None else []
    with _process([*arguments, *flags]), readable():
        resolvers.register()
        hydra.main(version_base="1.3", config_path=str(resolvers.conf_dir()), config_name="config")(task)()


@contextmanager
def _process(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads its command line from `sys.argv`, and from the environment whether to raise errors as they are."""
    argv, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = full
