"""What Hydra makes of the options that are chosen, kept for as long as their files say the same.

Hydra reads some thirty files for a composition and lays them over each other, which takes tenths of a second. The jobs of a sweep, the
trials of a search and whatever looks for the error in a command choose the same options and give other values: these are laid over a copy.
"""

import pickle
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from nnpx.configuration import resolvers
from nnpx.configuration.hydra_words import readable

#: as many compositions are kept, of some 30 kB each
_KEPT: Final = 64


def with_folder(overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """The overrides, and one that lets Hydra find the user's own options."""
    escaped = str(config_dir.resolve()).replace("'", r"\'") if config_dir is not None else ""
    return [*overrides, *([f"hydra.searchpath=['file://{escaped}']"] if escaped else [])]


def compose_choices(choices: Sequence[str], config_dir: Path | None) -> tuple[DictConfig, dict[str, Any]]:
    """The experiment of these options and Hydra's own part of the configuration, interpolations left as they are.

    Args:
        choices: `group=option`, and words to Hydra (`hydra/launcher=joblib`, `hydra.KEY=value`).
        config_dir: a folder of the user's own options.

    Raises:
        ConfigError: if they cannot be composed.
    """
    resolvers.register()
    folders = [resolvers.conf_dir(), *([config_dir] if config_dir is not None else [])]
    made = _composed(tuple(with_folder(choices, config_dir)), folders[0], tuple(map(resolvers.conf_hash, folders)))
    config, own = pickle.loads(made)
    return config, own


def lay_over(config: DictConfig, values: Sequence[Override]) -> None:
    """Lays values over an experiment as Hydra itself does with those of its command line.

    Raises:
        ConfigError: for a key that is not there, or one that is there already.
    """
    with readable():
        ConfigLoaderImpl._apply_overrides_to_config(list(values), config)


@lru_cache(_KEPT)
def _composed(words: tuple[str, ...], shipped: Path, hashes: tuple[str, ...]) -> bytes:
    """The experiment and Hydra's own part, of which everyone who asks has to get a copy; the hashes are those of all files there are."""
    with readable(), initialize_config_dir(str(shipped), version_base="1.3"):
        config = hydra_compose("config", list(words), return_hydra_config=True)
    with open_dict(config):
        own = OmegaConf.to_container(config.pop("hydra"), resolve=False)
    return pickle.dumps((config, own))
