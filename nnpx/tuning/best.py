"""The best trial as an experiment: `experiment/best.yaml` composes to exactly its configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from omegaconf import OmegaConf

from nnpx.config import compose
from nnpx.configuration import resolvers
from nnpx.configuration.overrides import groups_in, parse
from nnpx.configuration.schema import plain
from nnpx.errors import ConfigError

#: the name of the experiment
NAME: Final = "best"


def write_best(overrides: Sequence[str], config_dir: Path | None, project: Path, origin: str) -> Path:
    """Writes the overrides as an experiment into the user's own options, the folder conf/ of the project where there is no other.

    Args:
        overrides: of the winner, all of them.
        config_dir: the folder that they were composed with.
        project: holds conf/ where there is no `config_dir`.
        origin: where they come from, for a comment.

    Raises:
        ConfigError: if no such file composes to the same experiment.
    """
    check_name(overrides)
    winner = _content(overrides, config_dir)
    folder = config_dir or project / "conf"
    folders = [resolvers.conf_dir(), folder]
    delta = _delta(overrides, set(groups_in(folders)))
    path = folder / "experiment" / f"{NAME}.yaml"
    before = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    body = yaml.safe_dump(delta, sort_keys=False, allow_unicode=True)
    path.write_text(f"# @package _global_\n# {origin}\n{body}", encoding="utf-8")
    if _content([f"experiment={NAME}"], None if folder.resolve() == resolvers.conf_dir() else folder) != winner:
        path.unlink() if before is None else path.write_bytes(before)
        do = "Train it with the overrides of the table."
        raise ConfigError(str(path), expected="the experiment of the winner", found="another one when composed", do=do)
    return path


def check_name(overrides: Sequence[str]) -> None:
    """The winner cannot replace the experiment that it builds on.

    Raises:
        ConfigError: if it would.
    """
    if any(override.key_or_group == "experiment" and override.value() == NAME for override in parse(overrides)):
        do = f"Rename the file experiment/{NAME}.yaml, and search with its new name."
        raise ConfigError(f"experiment={NAME}", expected="a winner with another name than what it builds on", found=NAME, do=do)


def _content(overrides: Sequence[str], config_dir: Path | None) -> dict[str, Any]:
    return {key: value for key, value in plain(compose(overrides, config_dir)).items() if key != "conf_hash"}


def _delta(overrides: Sequence[str], groups: set[str]) -> dict[str, Any]:
    """The content of a file that adds the overrides to the experiment that they build on; a later override counts more."""
    base, choices, values = _default_experiment(), {}, OmegaConf.create({})
    for override in parse(overrides):
        key = str(override.key_or_group)
        if override.is_delete():
            do = "Train it with the overrides of the table."
            raise ConfigError(str(override.input_line), expected="overrides that a file can hold", found="a deletion", do=do)
        if key == "experiment":
            base = str(override.value())
        elif key in groups:
            choices[key] = override.value()
        else:
            OmegaConf.update(values, key, override.value(), force_add=True)
    added = [{f"override /{group}": option} for group, option in choices.items()]
    return {"defaults": [base, "_self_", *added], **OmegaConf.to_container(values, resolve=False)}  # type: ignore[dict-item]  # a mapping gives a mapping


def _default_experiment() -> str:
    defaults = OmegaConf.load(resolvers.conf_dir() / "config.yaml").defaults
    return next(str(row["experiment"]) for row in defaults if not isinstance(row, str) and "experiment" in row)
