"""What a YAML file may not do: run code through Hydra's own part of a configuration, or bring this machine into an experiment.

An experiment is text that may come from anywhere. Hydra builds launchers, sweepers and callbacks, configures Python's logging (which can
call any function) and sets environment variables from its keys `hydra.…`, before nnpx sees the first job; OmegaConf's resolvers read
environment variables and files into values. A file may do none of this. The user may speak to Hydra on their own command line, and lets
the shell fill in what depends on the machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import hydra
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser
from omegaconf.grammar_parser import parse

from nnpx.configuration.annotations import show
from nnpx.configuration.launchers import RAY_TARGET
from nnpx.configuration.schema import raise_all
from nnpx.errors import ConfigError

#: what Hydra may build: its own launcher and sweeper and those of its plugins
HYDRA_TARGETS: Final = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    RAY_TARGET,
)
#: the resolvers that give the same value on every machine
RESOLVERS: Final = ("nnpx.conf_hash",)
#: keys that run a command, call a function or set a variable
_ACTIVE: Final = ("callbacks", "searchpath", "job.env_set", "launcher.setup", "launcher.additional_parameters", "launcher.python")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOGGING: Final = ("job_logging", "hydra_logging")
#: what Hydra fills in itself, and the grid that a file may declare
_FREE: Final = ("hydra.runtime.", "hydra.overrides.", "hydra.searchpath", "hydra.job.", "hydra.sweeper.params.")
_SAY: Final = "Remove it from the file, or say {}=… yourself."


def guard(config: DictConfig, hydra: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuses what the files of a composed experiment must not do.

    Args:
        config: the experiment, whose interpolations are not resolved yet.
        hydra: Hydra's own part of the configuration, interpolations left as they are.
        overrides: the words that it was composed with.

    Raises:
        ConfigError: with everything that a file must not do.
    """
    raise_all([*hydra_problems(hydra, overrides), *machine_problems(config)])


def guard_hydra(hydra: Mapping[str, Any], shipped: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuses whatever a user's folder of options tells Hydra, however it says it: only the grid of a sweep may stand in a file.

    Args:
        hydra: Hydra's own part of a configuration composed with the folder, interpolations left as they are.
        shipped: the same part, composed without it, with the same words to Hydra.
        overrides: the words of the user's command line.

    Raises:
        ConfigError: with every value below `hydra` that is not the shipped one.
    """
    raise_all(hydra_problems(hydra, overrides))
    known = dict(_leaves(shipped, "hydra"))
    raise_all(
        [
            ConfigError(path, expected="nothing, or your own word on the command line", found=show(value), do=_SAY.format(path))
            for path, value in _leaves(hydra, "hydra")
            if not path.startswith(_FREE) and (path not in known or known[path] != value)
        ]
    )


def guard_values(config: DictConfig) -> None:
    """Refuses a file of composed values that holds instructions besides, before its interpolations are resolved.

    Raises:
        ConfigError: with everything that such a file must not do.
    """
    expected, do = "the values of an experiment alone", "Remove it, or write the file anew with `nnpx compose`."
    commands = [key for key in ("hydra", "defaults") if key in config]  # composing upon the file would follow them
    problems = [ConfigError(key, expected=expected, found=f"instructions for Hydra under {key}", do=do) for key in commands]
    raise_all([*problems, *machine_problems(config)])


def hydra_problems(config: Mapping[str, Any], overrides: Sequence[str]) -> list[ConfigError]:
    """What a file tells Hydra that it must not.

    Args:
        config: Hydra's own part of a composed configuration, interpolations left as they are.
        overrides: the words of the user's command line.
    """
    problems, said = [], [word.lstrip("+").partition("=")[0] for word in overrides]
    for path, value in _leaves(config, "hydra"):
        if path.endswith("._target_") and value not in HYDRA_TARGETS:
            names = ", ".join(target.rpartition(".")[2] for target in HYDRA_TARGETS)
            do = f"Remove {path}: what it names would run unchecked."
            problems.append(ConfigError(path, expected=f"a launcher or sweeper of Hydra or its plugins ({names})", found=str(value), do=do))
    named = [problem.where for problem in problems]
    for key in (*_ACTIVE, *_LOGGING):
        path = f"hydra.{key}"
        unsaid = {
            leaf: value for leaf, value in _leaves(_at(config, key), path) if not any(f"{leaf}.".startswith(f"{word}.") for word in said)
        }
        harmless = not any(unsaid.values()) or (key in _LOGGING and any(unsaid.items() <= own.items() for own in _hydras_own(key)))
        if not harmless and not any(where.startswith(path) for where in named):
            expected, do = "nothing, or your own word on the command line", _SAY.format(path)
            problems.append(ConfigError(path, expected=expected, found=show(_at(config, key)), do=do))
    return problems


def machine_problems(config: DictConfig) -> list[ConfigError]:
    """Every value that a resolver would fill in from this machine: it would be another one elsewhere, and may be a secret."""
    problems = []
    for path, value in _leaves(OmegaConf.to_container(config, resolve=False), ""):
        for name in _resolvers_in(value):
            if name not in RESOLVERS:
                expected, do = "a value that is the same on every machine", f"Write the value, or let the shell fill it in: {path}=$NAME ."
                problems.append(ConfigError(path, expected=expected, found=f"{value} (the resolver {name})", do=do))
    return problems


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every scalar with its dotted path."""
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _resolvers_in(value: object) -> Iterator[str]:
    if isinstance(value, str) and "${" in value and ":" in value:
        trees: list[Any] = [parse(value)]
        while trees:
            tree = trees.pop()
            if isinstance(tree, OmegaConfGrammarParser.InterpolationResolverContext):
                yield tree.resolverName().getText()  # type: ignore[no-untyped-call]  # ANTLR is not typed
            trees += tree.getChildren() if hasattr(tree, "getChildren") else []


def _at(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@cache
def _hydras_own(key: str) -> list[dict[str, Any]]:
    """The options of logging that come with Hydra, each as its leaves."""
    folder = Path(hydra.__file__).parent / "conf" / "hydra" / key
    return [dict(_leaves(yaml.load(path.read_bytes(), Loader=_LOADER), f"hydra.{key}")) for path in sorted(folder.glob("*.yaml"))]
