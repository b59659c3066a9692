"""Values that lead to other values (`${cutoff.radius}`): resolved, or every one that leads nowhere is named."""

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from nnpx.configuration.hydra_words import in_words
from nnpx.configuration.schema import raise_all
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError


def resolve(config: DictConfig) -> None:
    """Replaces every interpolation by the value that it leads to.

    Raises:
        ConfigError: with all interpolations that lead nowhere.
    """
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        problems = dict(_dangling(config, keys_of(config), ""))
        # what leads to another that leads nowhere is no error of its own
        raise_all([problem for problem, direct in problems.items() if direct] or list(problems))
        raise in_words(error) from error


def _dangling(node: Any, known: Sequence[str], path: str) -> Iterator[tuple[ConfigError, bool]]:
    """Every problem, and whether it is the value's own."""
    keys = list(node) if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        where, inner = f"{path}{key}", node._get_node(key)
        if inner is not None and inner._is_interpolation():
            try:
                node[key]
            except OmegaConfBaseException as error:
                text = str(inner._value())
                yield _leads_nowhere(where, text, error, known), text.strip("${}") not in known
        elif isinstance(inner, DictConfig | ListConfig) and not inner._is_none() and not inner._is_missing():
            yield from _dangling(inner, known, f"{where}.")


def _leads_nowhere(where: str, text: str, error: Exception, known: Sequence[str]) -> ConfigError:
    expected, said = "${…} to lead to a value", str(error)
    if isinstance(error, InterpolationKeyError):
        name = text.strip("${}").lstrip(".") if text.count("$") == 1 and text.startswith("$") else said.split("'")[1]
        return ConfigError(where, expected=expected, found=f"{text}, and no key {name}", do=suggest(name, known) or "Correct the key.")
    if "Recursive" in said:
        return ConfigError(where, expected=expected, found=f"{text}, which leads back to itself", do=f"Give {where} a value.")
    return ConfigError(where, expected=expected, found=f"{text}, which cannot be computed", do=f"Correct it, or give {where} a value.")


def keys_of(node: Any, path: str = "") -> list[str]:
    """Every dotted key below a node."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return []
    return [word for key in map(str, node) for word in (f"{path}{key}", *keys_of(node._get_node(key), f"{path}{key}."))]
