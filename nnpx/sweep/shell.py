"""Hydra's own command line, behind a check: `--cfg`."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from omegaconf import DictConfig

from nnpx.config import compose, validate
from nnpx.configuration import resolvers
from nnpx.configuration.overrides import forced, parse, readable
from nnpx.errors import ConfigError


def show(overrides: Sequence[str], config_dir: Path | None, what: str, *, resolve: bool, package: str | None) -> int:
    """Prints the composed experiment (`--cfg job`), Hydra's own part of it (`hydra`) or both (`all`).

    Raises:
        ConfigError: if it is not valid.
    """
    validate(compose(overrides, config_dir), config_dir=config_dir)
    flags = ["--cfg", what, *(["--resolve"] if resolve else []), *(["--package", package] if package else [])]
    try:
        _hydra([*overrides, *flags], config_dir, _nothing)
    except ConfigError:  # a key that its option does not have
        _hydra([*forced(parse(overrides)), *flags], config_dir, _nothing)
    return 0


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
