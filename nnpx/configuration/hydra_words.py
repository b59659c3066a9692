"""Hydra's own part of a command line in words: launchers that are not installed, keys that do not exist, what is left of its errors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Final

import yaml
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnpx.configuration.launchers import EXTRAS, register
from nnpx.configuration.option_files import syntax_error
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError

_PLUGINS: Final = ("launcher", "sweeper")


def hydra_problem(key: str, chosen: Mapping[str, str]) -> ConfigError | None:
    """What is wrong with `hydra/GROUP=…` or `hydra.KEY=…`.

    Args:
        key: the part before the =.
        chosen: the options of Hydra's groups on the same command line.
    """
    register()
    store = ConfigStore.instance()
    if "/" in key:
        group = key.removeprefix("hydra/")
        if not isinstance(store.repo.get("hydra"), dict) or group not in store.repo["hydra"]:
            return None  # a file of Hydra's own, such as job_logging
        known = sorted(name.removesuffix(".yaml") for name in store.list(key))
        return None if chosen[group] in known else _not_installed(key, chosen[group], known)
    node: Any = OmegaConf.structured(HydraConf)
    names = key.split(".")[1:]
    for depth, name in enumerate(names):
        if depth == 1 and names[0] in _PLUGINS:
            option = f"{chosen.get(names[0], 'basic')}.yaml"
            listed = f"hydra/{names[0]}"
            node = store.load(f"{listed}/{option}").node if option in store.list(listed) else None
        if not isinstance(node, DictConfig) or node._is_missing() or OmegaConf.get_type(node) is dict:
            return None
        known = [str(word) for word in node if word != "_target_"]
        if name not in known:
            owner = ".".join(["hydra", *names[:depth]])
            if names[0] == "launcher" and "launcher" not in chosen:
                do = "Choose a launcher that has it, for example hydra/launcher=joblib."
            else:
                do = suggest(name, known) or f"Remove {key}."
            expected = f"one of the keys of {owner} ({', '.join(known)})" if known else f"no keys: this {names[0]} has none"
            return ConfigError(key, expected=expected, found=name, do=do)
        node = node._get_node(name)
    return None


def _not_installed(key: str, option: str, known: Sequence[str]) -> ConfigError:
    kind = key.removeprefix("hydra/")
    if kind == "launcher" and option in EXTRAS:
        do = f"Run `pip install 'nnpx[{EXTRAS[option]}]'`."
        return ConfigError(key, expected=f"a launcher that is installed ({', '.join(known)})", found=option, do=do)
    if kind == "sweeper":
        do = "Leave it out: -m runs a grid, `nnpx tune` searches."
        return ConfigError(key, expected=f"a sweeper that is installed ({', '.join(known)})", found=option, do=do)
    meant = get_close_matches(option, [*known, *EXTRAS], n=1)
    do = f"Did you mean {meant[0]}?" if meant else "Choose one of them."
    return ConfigError(key, expected=f"an option of {key} ({', '.join(known)})", found=option, do=do)


def in_words(error: Exception) -> ConfigError:
    """An error of YAML, Hydra or OmegaConf as one of ours: for what no other check has found."""
    if isinstance(error, yaml.MarkedYAMLError):
        return syntax_error(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException | HydraException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    where = getattr(cause, "full_key", None) or "configuration"
    return ConfigError(
        str(where),
        expected="a configuration that composes",
        found=lines[0].rstrip(".") if lines else type(error).__name__,
        do="Correct the command line or the YAML file that it comes from.",
    )


@contextmanager
def readable() -> Iterator[None]:
    """Errors inside of it in words.

    Raises:
        ConfigError: for a YAML file, an override or an interpolation that fails.
    """
    try:
        yield
    except (yaml.YAMLError, HydraException, OmegaConfBaseException) as error:
        raise in_words(error) from error
