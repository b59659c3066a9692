"""Where a key belongs that the chosen options do not take: into another option of its group, or elsewhere in the experiment."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from nnpx.configuration.option_files import content_of
from nnpx.configuration.schema import UnknownKeyError, is_node, paths_in
from nnpx.errors import ConfigError

#: more places than this that only hold a word are no answer
_MOST: Final = 4


def with_places(problems: Sequence[ConfigError], config: Mapping[str, Any], folders: Sequence[Path]) -> list[ConfigError]:
    """The problems; unknown keys that another option takes, or that no neighbour resembles, get the place where they belong."""
    wrong = {problem.where for problem in problems if isinstance(problem, UnknownKeyError)}
    right = [path for path in paths_in(config) if not any(f"{path}.".startswith(f"{other}.") for other in wrong)]
    told = []
    for problem in problems:
        hint = _hint(problem, config, right, folders) if isinstance(problem, UnknownKeyError) else ""
        told.append(UnknownKeyError(problem.where, expected=problem.expected, found=problem.found, do=hint) if hint else problem)
    return told


def options_with(path: str, folders: Sequence[Path], refused: Mapping[str, Any] | None = None) -> list[str]:
    """The options of a group that have a key: of data.path `extxyz` and `unlabelled`. Files are read, classes are not.

    Args:
        path: the key.
        folders: the folders of options.
        refused: an experiment in which the class that should take the key does not; files that give it to that class are wrong, too.
    """
    noun, *keys = path.split(".")
    names = sorted({file.stem for folder in folders for file in folder.glob(f"{noun}/*.yaml")})
    is_plain = bool(keys) and not keys[-1].startswith("_")
    return [name for name in names if is_plain and _takes(content_of(folders, noun, name), (refused or {}).get(noun), keys)]


def suggest_place(path: str, known: Sequence[str]) -> str:
    """`Did you mean data.split.n_train?` for data.n_train, or nothing; `trainer.max_epochs` for epochs; places in one noun come first."""
    noun, key = path.partition(".")[0], path.rpartition(".")[2]
    names = sorted({name for other in known if not (name := other.rpartition(".")[2]).startswith("_")})
    holding = [name for name in names if get_close_matches(key, name.split("_"), cutoff=0.8) or f"_{key}_" in f"_{name}_"]
    meant = [key] if key in names else get_close_matches(key, names, n=1, cutoff=0.8) or holding
    found = [other for other in known if other.rpartition(".")[2] in meant]
    near = [other for other in found if other.startswith(f"{noun}.")] or found
    return f"Did you mean {' or '.join(near)}?" if near and (meant != holding or len(near) <= _MOST) else ""


def _hint(problem: ConfigError, config: Mapping[str, Any], right: Sequence[str], folders: Sequence[Path]) -> str:
    path = _innermost(problem.where, config)
    noun, _, key = path.partition(".")
    is_near = any(other.startswith(f"{noun}.") and other.rpartition(".")[2] == key.rpartition(".")[2] for other in right)
    options = [] if is_near else options_with(path, folders, config)
    if options:
        belongs = " and ".join(f"{noun}={option}" for option in options)
        return f"{key} belongs to {belongs}: choose {'it' if len(options) == 1 else 'one of them'}{_or_take_out(path, config, folders)}."
    return suggest_place(path, right) if problem.do == f"Remove {problem.where}." else ""


def _or_take_out(path: str, config: Mapping[str, Any], folders: Sequence[Path]) -> str:
    """How to have the key no more, where it is the experiment that sets it, and not the user."""
    name = str(config.get("name"))
    content: Any = content_of(folders, "experiment", name)
    for key in path.split("."):
        content = _below(content, key)
    return "" if content is None else f", or take out what experiment={name} sets: '~{path}'"


def _innermost(path: str, config: Mapping[str, Any]) -> str:
    """The last of the values below a key: of md.nve, where only md.nve.duration_ps was given, that one."""
    value: Any = config
    for key in path.split("."):
        value = _below(value, key)
    return paths_in(value, f"{path}.")[-1] if isinstance(value, Mapping) and value else path


def _takes(content: Any, refused: Any, keys: Sequence[str]) -> bool:
    for key in keys[:-1]:
        content, refused = _below(content, key), _below(refused, key)
    is_other = not is_node(content) or content["_target_"] != _below(refused, "_target_")
    return isinstance(content, Mapping) and keys[-1] in content and is_other


def _below(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
