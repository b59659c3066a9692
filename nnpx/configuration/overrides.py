"""What is wrong with the words of a command line: Hydra's own errors speak of its grammar, these of the experiment."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from nnpx.configuration.annotations import show
from nnpx.configuration.hydra_words import hydra_problem, readable
from nnpx.configuration.interpolations import keys_of
from nnpx.configuration.option_files import OVERLAY, SEPARATE_GROUPS, find, groups_in, name_file, problems_in, read, relative
from nnpx.configuration.schema import raise_all
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError

__all__ = ["explain", "fit", "groups_in", "lay", "name_file", "parse", "read_composed", "readable", "relative"]

_KEY: Final = r"[+~]{0,2}[\w$/@-]+(\.[\w$/@-]+)*"
_MISSING: Final = object()


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them.

    Raises:
        ConfigError: for a word that is no override, and for a launcher or a key of Hydra that does not exist; see
            `nnpx.configuration.schema.JoinedConfigError` for several.
    """
    words, problems = _joined(overrides)
    parser, parsed = OverridesParser.create(), []
    for word in words:
        if word.startswith("="):
            problems.append(_unreadable(word))
            continue
        try:
            parsed += parser.parse_overrides([word])
        except OverrideParseException:
            problems.append(_unreadable(word))
    raise_all([*problems, *_hydra_problems(parsed)])
    return parsed


@dataclass(frozen=True)
class Explained:
    """Overrides taken apart: problems with options and their files, the choices without them (and words to Hydra), and the values."""

    problems: list[ConfigError] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    values: list[Override] = field(default_factory=list)


def explain(parsed: Sequence[Override], folders: Sequence[Path]) -> Explained:
    """What is wrong with the options that are chosen, and with their files."""
    groups, found = groups_in(folders), Explained()
    for override in parsed:
        word, group, option = override.input_line or "", override.key_or_group, override.value()
        if re.match(r"hydra([./]|$)", group):
            found.choices.append(word)
        elif override.is_sweep_override():
            found.problems.append(_several(word, group, groups))
        elif override.package is not None or "/" in group:
            found.problems.append(_placed(override, groups))
        elif group in SEPARATE_GROUPS and not override.is_add():
            do = f"Say it to the command that reads it: `nnpx {SEPARATE_GROUPS[group]} {word}`."
            found.problems.append(ConfigError(word, expected="a group of the experiment", found=f"{group}, which is none", do=do))
        elif group not in groups or isinstance(option, dict):
            found.values.append(override)
        elif override.is_delete():
            found.choices.append(f"~{group}")
        else:
            wrong = list(_wrong_choice(override, folders, groups))
            found.problems.extend(wrong)
            found.choices.extend([] if wrong else [word])
    return found


def fit(parsed: Sequence[Override], config: DictConfig) -> tuple[list[ConfigError], list[str]]:
    """The problems with + and ~ before keys, and the values forced on the experiment, so that the schema can name the unknown ones.

    Args:
        parsed: overrides of values, not of groups.
        config: the experiment without them.
    """
    problems, rest = [], []
    for override in parsed:
        key, word = override.key_or_group, override.input_line or ""
        there = OmegaConf.select(config, key, default=_MISSING, throw_on_missing=False, throw_on_resolution_failure=False) is not _MISSING
        if override.is_delete() and not there:
            do = suggest(key, keys_of(config)) or "Leave it out."
            problems.append(ConfigError(word, expected="~ before a key that is there", found=f"no key {key}", do=do))
        elif override.is_add() and not override.is_force_add() and there:
            do = f"Drop the +: {word.lstrip('+')}."
            problems.append(ConfigError(word, expected="+ before a new key", found="a key that is there already", do=do))
        else:
            rest.append(word if override.is_delete() else f"++{word.lstrip('+')}")
    return problems, rest


def forced(parsed: Sequence[Override]) -> list[str]:
    """The words for Hydra itself, which asks for a + before keys that their options do not have; that a class takes them is known."""
    words = []
    for override in parsed:
        word, (noun, dot, _) = override.input_line or "", override.key_or_group.partition(".")
        words.append(f"++{word.lstrip('+')}" if dot and noun != "hydra" and not override.is_delete() else word)
    return words


def read_composed(path: Path, nouns: Sequence[str]) -> DictConfig:
    """What a file written by `nnpx compose` holds, its values not yet resolved.

    Raises:
        ConfigError: if it is no YAML, or no composed experiment.
    """
    content = read(path)
    missing = [noun for noun in nouns if not isinstance(content, dict) or noun not in content]
    if not isinstance(content, dict) or "defaults" in content or len(missing) > len(nouns) // 2:
        found = "an empty file" if content is None else "one that is not composed"
        do = f"Compose it: nnpx compose, or nnpx compose --config-dir DIR {OVERLAY}={path.stem} for DIR/{OVERLAY}/{path.name}."
        raise ConfigError(relative(path), expected="a composed experiment, with every group in it", found=found, do=do)
    with readable():
        config: DictConfig = OmegaConf.create(path.read_text(encoding="utf-8-sig"))  # type: ignore[assignment]  # a text of keys, as checked above
        return config


def lay(parsed: Sequence[Override], config: DictConfig) -> list[ConfigError]:
    """Lays values over a composed experiment, and returns the problems with + and ~; the schema names unknown keys."""
    problems, _ = fit(parsed, config)
    problems += [_several(one.input_line or "", one.key_or_group, {}) for one in parsed if one.is_sweep_override()]
    OmegaConf.set_struct(config, False)
    for override in [] if problems else parsed:
        parent, _, key = override.key_or_group.rpartition(".")
        if override.is_delete():
            node = OmegaConf.select(config, parent) if parent else config
            del node[key]
        else:
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    return problems


def _wrong_choice(override: Override, folders: Sequence[Path], groups: Mapping[str, list[str]]) -> Iterator[ConfigError]:
    group, value, word = override.key_or_group, override.value(), override.input_line or ""
    options = value if isinstance(value, list) else [value]
    if isinstance(value, list) and group != OVERLAY:
        do = f"Write -m {group}={','.join(map(str, value))} to run each of them."
        yield ConfigError(word, expected=f"one option of {group}", found=f"a list of {len(value)}", do=do)
        return
    for option in options:
        name = option or "nothing" if isinstance(option, str) else "nothing" if option is None else show(option)
        if name.removesuffix(".yaml") not in groups[group]:
            other = find(folders, group, name.removesuffix(".yml"), ".yml")
            do = f"Rename {relative(other)} to {other.with_suffix('.yaml').name}." if other else suggest(name, groups[group])
            yield ConfigError(
                group, expected=f"an option of {group} ({', '.join(groups[group])})", found=name, do=do or "Choose one of them."
            )
        elif word.startswith("+") and group not in SEPARATE_GROUPS:
            plus = "++" if override.is_force_add() else "+"
            found = f"a {plus} before a group that is chosen already"
            yield ConfigError(word, expected=f"{group}=OPTION", found=found, do=f"Drop the {plus}.")
        else:
            yield from problems_in(folders, group, name.removesuffix(".yaml"), groups)


def _several(word: str, key: str, groups: Mapping[str, list[str]]) -> ConfigError:
    value = word.partition("=")[2]
    alternative = "" if key in groups else f"; write {key}=[{value}] for a list, '{key}=\"{value}\"' for a text with a comma"
    if re.search(r"[(\[{]", value):
        alternative = ""
    return ConfigError(word, expected="one value", found="several", do=f"Add -m to run each of them{alternative}.")


def _placed(override: Override, groups: Mapping[str, list[str]]) -> ConfigError:
    group, _, option = override.key_or_group.partition("/")
    plain = f"{group}={option or override.value()}"
    do = f"Write {plain}." if group in groups else suggest(group, groups) or "Name the group alone."
    found = f"a place for it (@{override.package})" if override.package is not None else "a path"
    return ConfigError(override.input_line or group, expected="group=option", found=found, do=do)


def _hydra_problems(parsed: Sequence[Override]) -> Iterator[ConfigError]:
    own = [override for override in parsed if re.match(r"hydra[./]", override.key_or_group)]
    chosen = {one.key_or_group.removeprefix("hydra/"): str(one.value()) for one in own if "/" in one.key_or_group}
    for override in own:
        problem = hydra_problem(override.key_or_group, chosen)
        if problem is not None:
            yield problem


def _joined(overrides: Sequence[str]) -> tuple[list[str], list[ConfigError]]:
    """The words that can be overrides, and the problems with the others; what the shell divided is put together again."""
    words, problems, rest = [], [], list(overrides)
    while rest:
        word = rest.pop(0)
        divided = [word]
        while rest and (("=" in word and _open(" ".join(divided))) or divided[-1].endswith(("=", ","))) and "=" not in rest[0][1:]:
            divided.append(rest.pop(0))
        if rest and len(divided) == 1 and "=" not in word and not word.startswith("~") and not word.endswith((".yaml", ".yml")):
            divided += _value_of(word, rest)
        if len(divided) > 1:
            problems.append(_divided(divided))
        elif "=" in word or word.startswith("~"):
            words.append(word)
        else:
            problems.append(_stray(word))
    return words, problems


def _value_of(key: str, rest: list[str]) -> list[str]:
    """Takes what belongs to a lone key: `= value`, `=value` or `value`."""
    if not re.fullmatch(_KEY + ":?", key) or ("=" in rest[0][1:] and not rest[0].startswith("=")) or rest[0].startswith("~"):
        return []
    taken = [rest.pop(0)]
    if taken == ["="] and rest:
        taken.append(rest.pop(0))
    return taken


def _open(text: str) -> bool:
    return any(text.count(opening) > text.count(closing) for opening, closing in ("[]", "{}", "()"))


def _divided(words: Sequence[str]) -> ConfigError:
    text = " ".join(words)
    if _open(text) or "[" in text or "{" in text:
        do = f"Quote it: '{re.sub(r' *= *', '=', text, count=1)}'."
        return ConfigError(text, expected="one word", found=f"{_count(words)}: the shell divides at spaces", do=do)
    key, value = words[0].rstrip(":= "), "".join(words[1:]).lstrip("=")
    if "=" in words[0].rstrip("="):
        key, value = words[0].partition("=")[0], words[0].partition("=")[2] + "".join(words[1:])
    return ConfigError(text, expected="key=value", found=_count(words), do=f"Write {key}={value}.")


def _count(words: Sequence[str]) -> str:
    return {2: "two words", 3: "three words"}.get(len(words), f"{len(words)} words")


def _stray(word: str) -> ConfigError:
    if word.endswith((".yaml", ".yml")):
        name, folder = Path(word).stem, Path(word).parent
        option = f"--config-dir {folder} {OVERLAY}={name}"
        own = folder / OVERLAY / f"{name}.yaml"
        do = f"Run a composed experiment with --params {word}; or save your changes as {own} and say {option}."
        return ConfigError(word, expected="key=value", found="the name of a file", do=do)
    key, colon, value = word.partition(":")
    if colon and value and re.fullmatch(_KEY, key):
        return ConfigError(word, expected="key=value", found="a colon instead of =", do=f"Write {key}={value}.")
    do = f"Write {word.rstrip(':')}=VALUE; a value with spaces or brackets stands in quotes: 'key=[1, 2]'."
    return ConfigError(word, expected="key=value", found="a word without =", do=do)


def _unreadable(word: str) -> ConfigError:
    key, _, value = word.partition("=")
    if not key.strip():
        return ConfigError(word, expected="key=value", found="no key", do="Write the key before the =.")
    if not re.fullmatch(_KEY, key):
        if re.fullmatch(_KEY, key.strip()):
            return ConfigError(word, expected="key=value", found="a space before the =", do=f"Write {key.strip()}={value.strip()}.")
        do = "Join the names with dots (network.hidden=[64,64]); a list is given as a whole."
        return ConfigError(word, expected="a key such as optimizer.learning_rate", found=key, do=do)
    if value.startswith("="):
        return ConfigError(word, expected="key=value", found="two =", do=f"Write {key}={value.strip('=')}.")
    unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", value)
    special = next((sign for sign in "=(){}[]#%*!?;&<>|'\"" if sign in unquoted), "")
    if _open(value) or (special in ("'", '"') and special and value.startswith(special)):
        do = f"Close brackets and quotes, and quote the whole word for the shell: '{key}=…'."
        return ConfigError(word, expected="a value that is complete", found="an open bracket or quote", do=do)
    text = value.replace('"', '\\"')
    found = f"a {special} outside of quotes" if special else "one that cannot be read"
    return ConfigError(word, expected="a value that YAML could hold", found=found, do=f"Put the value in quotes: '{key}=\"{text}\"'.")
