"""Configuration: composed by Hydra, checked against the signatures it names, built through one door.

    config = compose(["descriptor=acsf", "network.hidden=[64,64]"])    # conf/ + overrides
    validate(config)                                                   # every error at once, before anything heavy runs
    network = instantiate(config.network, n_features=48, n_channels=3)  # the sizes that follow from other choices come from code

The command line, `params.yaml`, notebooks and saved potentials all pass the same check.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nnpx.configuration import resolvers, schema
from nnpx.configuration.composition import compose_choices, lay_over, with_folder
from nnpx.configuration.guard import guard, guard_hydra, guard_values
from nnpx.configuration.interpolations import resolve
from nnpx.configuration.option_files import check_folder
from nnpx.configuration.overrides import explain, fit, groups_in, lay, name_file, parse, read_composed, readable, relative
from nnpx.configuration.places import with_places
from nnpx.configuration.resolvers import conf_dir, conf_hash, pipelines_dir
from nnpx.configuration.schema import JoinedConfigError, check_node, check_root, is_node, plain, raise_all
from nnpx.configuration.targets import suggest, trust
from nnpx.errors import ConfigError

__all__ = [
    "compose",
    "conf_dir",
    "conf_hash",
    "files_of",
    "fingerprint",
    "folders_of",
    "instantiate",
    "load_params",
    "pipelines_dir",
    "problems_of",
    "read_kept",
    "trust",
    "validate",
]


def compose(overrides: Sequence[str] = (), config_dir: Path | None = None) -> DictConfig:
    """The experiment that conf/ and the overrides describe, all interpolations resolved.

    Args:
        overrides: `group=option` and `key=value`, in Hydra's grammar.
        config_dir: a folder of the user's own options, laid out as conf/.

    Raises:
        ConfigError: if an override or a file cannot be composed.
    """
    folders = folders_of(config_dir)
    parsed = parse(overrides)
    found = explain(parsed, folders)
    try:
        if not found.problems:
            chosen = [one.input_line or "" for one in parsed if one not in found.values]
            return _compose(chosen, found.values, config_dir)
        failed = found.problems
    except ConfigError as error:
        failed = problems_of(error)
    problems = list(found.problems)
    try:
        wrong, forced = fit(found.values, _compose(found.choices, [], config_dir))
        problems += wrong
        laid = _compose(found.choices, parse(forced), config_dir)
        problems += _problems(laid, (), folders)
        if not problems:  # Hydra missed a + before a key that the class takes and the option's file lacks
            return laid
    except ConfigError as error:
        problems += problems_of(error)
    raise_all(problems or failed)
    raise failed[0]


def load_params(path: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """A composed experiment from a file, with values (not groups) overridden.

    Raises:
        ConfigError: if the file is missing, not YAML or not composed, or if an override does not fit it.
    """
    if not path.is_file():
        do = "Write it with `nnpx compose`" + _near(path)
        raise ConfigError(str(path), expected="a composed experiment", found="no such file", do=do)
    config = read_composed(path, schema.NOUNS)
    guard_values(config)
    groups = groups_in([resolvers.conf_dir()])
    parsed = parse(overrides)
    for override in parsed:
        if override.key_or_group in groups:
            do = f"Run `nnpx compose {override.input_line}` and then this again."
            raise ConfigError(str(override.input_line), expected="a value in a composed experiment", found="a choice of a group", do=do)
    raise_all(lay(parsed, config))
    resolve(config)
    OmegaConf.set_struct(config, True)
    return config


def read_kept(text: str) -> dict[str, Any]:
    """The experiment that a run, a job of a sweep or a saved potential keeps as YAML: values, which is all that it may hold.

    Raises:
        ConfigError: if it holds instructions, or asks for values of this machine.
    """
    with readable():
        config: Any = OmegaConf.create(text)
    if not isinstance(config, DictConfig):
        raise ConfigError("a kept experiment", expected="a mapping", found=type(config).__name__, do="Name another run.")
    guard_values(config)
    return dict(plain(config))


def validate(config: DictConfig, trusted: Sequence[str] = (), config_dir: Path | None = None) -> None:
    """Checks a whole experiment: keys, types, ranges and targets of every node.

    Args:
        config: a composed experiment.
        trusted: packages outside nnpx that may be named, besides those of `trust`.
        config_dir: the user's own options, to name the file of an error.

    Raises:
        ConfigError: with all errors; `problems_of` takes them apart.
    """
    raise_all(_problems(config, trusted, folders_of(config_dir)))


def instantiate(node: DictConfig | Mapping[str, Any], **wired: Any) -> Any:
    """The object that a node describes: the one door from configuration to code.

    Args:
        node: a mapping with `_target_` and the keyword arguments of that class.
        wired: arguments that follow from other choices. What the class does not ask for is left out, so that all
            options of a noun can be built by the same line.

    Raises:
        ConfigError: if the node does not fit the signature, or names a class outside the allow-list.
    """
    content = plain(node)
    if not is_node(content):
        raise ConfigError("instantiate", expected="a mapping with _target_", found=str(content), do="Hand over a node of the experiment.")
    plan, problems = check_node(content, str(content["_target_"]), (), tuple(wired))
    raise_all(problems)
    if plan is None:
        raise ConfigError(str(content["_target_"]), expected="a class", found="none", do="Correct the target.")
    return plan.build(wired)


def fingerprint(*nodes: object) -> str:
    """Twelve hexadecimal digits that change with any value in the nodes, and with nothing else."""
    text = json.dumps([plain(node) for node in nodes], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def problems_of(error: ConfigError) -> list[ConfigError]:
    """The single errors of an error."""
    return error.problems if isinstance(error, JoinedConfigError) else [error]


def files_of(overrides: Sequence[str], config_dir: Path | None = None) -> list[tuple[Path, str]]:
    """The YAML files of an experiment in the order in which they are laid over each other, each with the dotted place that it fills.

    Raises:
        ConfigError: if they cannot be composed.
    """
    folders = folders_of(config_dir)
    with readable(), initialize_config_dir(str(resolvers.conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        listed = loader.compute_defaults_list("config", with_folder(overrides, config_dir), RunMode.RUN).defaults
    files = [
        ([folder / f"{one.config_path}.yaml" for folder in folders], "" if one.package in (None, "_global_") else one.package)
        for one in listed
    ]
    return [(path, place) for paths, place in files for path in [path for path in paths if path.is_file()][:1]]


def shipped_hydra(overrides: Sequence[str]) -> dict[str, Any]:
    """Hydra's part of the shipped configuration with what these overrides say to Hydra, and nothing else.

    Raises:
        ConfigError: an option of Hydra's groups that neither Hydra nor its plugins bring.
    """
    words = [word for word in overrides if re.match(r"[+~]*hydra[./]", word)]
    try:
        return compose_choices(words, None)[1]
    except ConfigError as error:
        key, _, option = next((word for word in reversed(words) if "/" in word.split("=")[0]), "hydra").partition("=")
        do = "Choose one of theirs: a file of your own cannot tell Hydra what to do."
        raise ConfigError(key, expected="an option of Hydra or its plugins", found=option or "none", do=do) from error


def _compose(choices: Sequence[str], values: Sequence[Override], config_dir: Path | None) -> DictConfig:
    config, hydra = compose_choices(choices, config_dir)
    lay_over(config, values)
    words = with_folder(choices, config_dir)
    if config_dir is not None:
        guard_hydra(hydra, shipped_hydra(choices), words)
    guard(config, hydra, words)
    resolve(config)
    return config


def _problems(config: DictConfig, trusted: Sequence[str], folders: Sequence[Path]) -> list[ConfigError]:
    content = plain(config)
    return [name_file(problem, content, folders) for problem in with_places(check_root(content, trusted), content, folders)]


def folders_of(config_dir: Path | None) -> list[Path]:
    """The folders that hold options: the shipped one, and that of the user.

    Raises:
        ConfigError: if there is no such folder.
    """
    if config_dir is not None and not config_dir.is_dir():
        do = "Correct --config-dir" + _near(config_dir)
        raise ConfigError(str(config_dir), expected="a folder of YAML options", found="no such folder", do=do)
    if config_dir is not None:
        check_folder(config_dir, resolvers.conf_dir())
    return [resolvers.conf_dir(), *([config_dir] if config_dir is not None else [])]


def _near(path: Path) -> str:
    beside = [relative(other) for other in path.resolve().parent.glob("*")] if path.resolve().parent.is_dir() else []
    hint = suggest(relative(path.resolve()), beside)
    return f". {hint}" if hint else "."
