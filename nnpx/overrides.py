"""What is wrong with a command line or a YAML file, in words: Hydra's own errors speak of its grammar, these of the experiment."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnpx.errors import ConfigError
from nnpx.targets import suggest


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them.

    Raises:
        ConfigError: for a word that is no override; see `nnpx.schema.JoinedConfigError` for several.
    """
    from nnpx.schema import raise_all

    raise_all(_strays(overrides))
    parser, parsed, problems = OverridesParser.create(), [], []
    for word in overrides:
        try:
            parsed += parser.parse_overrides([word])
        except OverrideParseException:
            key = word.split("=")[0]
            do = f"Close brackets and quotes, and quote the whole word for the shell: '{key}=…'."
            problems.append(
                ConfigError(word, expected="key=value with a value that YAML could hold", found="a value that cannot be read", do=do)
            )
    raise_all(problems)
    return parsed


def explain(parsed: Sequence[Override], groups: Mapping[str, list[str]]) -> tuple[list[ConfigError], list[str]]:
    """The problems with group choices, and the overrides without them, unknown keys forced so that the schema can name them."""
    problems, rest = [], []
    for override in parsed:
        key, word = override.key_or_group, override.input_line or ""
        if key not in groups:
            rest.append(word if word.startswith(("~", "hydra")) or "/" in key else f"++{word.lstrip('+')}")
            continue
        chosen = override.value()
        unknown = [option for option in (chosen if isinstance(chosen, list) else [chosen]) if option not in groups[key]]
        if override.is_add() and not unknown:
            problems.append(
                ConfigError(word, expected=f"{key}=OPTION", found="a + before a group that is chosen already", do="Drop the +.")
            )
        elif unknown:
            option = str(unknown[0] or "nothing")
            expected = f"an option of {key} ({', '.join(groups[key])})"
            problems.append(ConfigError(key, expected=expected, found=option, do=suggest(option, groups[key]) or "Choose one of them."))
        else:
            rest.append(word)
    return problems, rest


def groups_in(folders: Sequence[Path]) -> dict[str, list[str]]:
    """The config groups of these folders, each with its options."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault(group, set()).add(path.stem)
    return {group: sorted(options) for group, options in sorted(found.items())}


def in_words(error: Exception) -> ConfigError:
    """An error of YAML, Hydra or OmegaConf as one of ours."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark, problem = error.problem_mark or error.context_mark, error.problem or "text that is no YAML"
        where = f"{relative(Path(mark.name))}, line {mark.line + 1}" if mark else "a YAML file"
        return ConfigError(
            where,
            expected="valid YAML",
            found=f"a syntax error ({problem})",
            do="Correct the file; indent with spaces and write `key: value`.",
        )
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException | HydraException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    where = getattr(cause, "full_key", None) or "configuration"
    do = "Correct the command line or the YAML file that it comes from."
    return ConfigError(
        str(where), expected="a configuration that composes", found=lines[0].rstrip(".") if lines else type(error).__name__, do=do
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


def name_file(problem: ConfigError, config: Mapping[str, object], folders: Sequence[Path]) -> ConfigError:
    """The problem with the YAML file that it comes from, if one of the folders holds it."""
    noun, _, rest = problem.where.partition(".")
    node = config.get(noun)
    if not isinstance(node, Mapping):
        return problem
    rest = rest.removesuffix("._target_")
    for path in [path for folder in folders for path in sorted(folder.glob(f"{noun}/*.yaml"))]:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if not isinstance(content, dict) or content.get("_target_") != node.get("_target_"):
            continue
        if problem.found == "nothing" or _same(content, node, rest):
            return type(problem)(f"{problem.where} in {relative(path)}", expected=problem.expected, found=problem.found, do=problem.do)
    return problem


def relative(path: Path) -> str:
    """A path as the user would write it: relative to where they are, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _same(content: Mapping[Any, Any], node: Mapping[Any, Any], keys: str) -> bool:
    one: object = content
    other: object = node
    for key in keys.split("."):
        if not isinstance(one, Mapping) or not isinstance(other, Mapping) or key not in one or key not in other:
            return False
        one, other = one[key], other[key]
    return one == other


def _strays(overrides: Sequence[str]) -> list[ConfigError]:
    problems, skip = [], False
    for word, following in zip_longest(overrides, overrides[1:], fillvalue=""):
        if skip or "=" in word or word.startswith("~"):
            skip = False
            continue
        if word.endswith((".yaml", ".yml")):
            name, folder = Path(word).stem, Path(word).parent
            own = folder / "experiment" / Path(word).name
            option = f"--config-dir {folder} experiment={name}"
            do = f"Run a composed experiment with --params {word}; or save your changes as {own} and say {option}."
            problems.append(ConfigError(word, expected="key=value", found="the name of a file", do=do))
        elif following and "=" not in following and not following.startswith("~") and not word.endswith((",", "[")):
            skip = True
            do = f"Write {word.rstrip(':')}={following}."
            problems.append(ConfigError(f"{word} {following}", expected="key=value", found="two words", do=do))
        else:
            do = f"Write {word.rstrip(':')}=VALUE; a value with spaces or brackets stands in quotes: 'key=[1, 2]'."
            problems.append(ConfigError(word, expected="key=value", found="a word without =", do=do))
    return problems
