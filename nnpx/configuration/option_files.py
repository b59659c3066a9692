"""The YAML files behind the options: found, read, and checked before Hydra composes them, so that an error names its file and line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, final

import yaml

from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError

#: the group whose options are laid over a whole experiment
OVERLAY: Final = "experiment"
#: groups that belong to no experiment, each with the command that reads it
SEPARATE_GROUPS: Final = {"promotion": "promote", "selection": "select", "tune": "tune"}
_YES: Final = {"yes", "on", "y"}
_NO: Final = {"no", "off", "n"}
_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_HEADER: Final = "# @package _global_"
#: begins a line at the head of an option that wants values
_EXAMPLE: Final = "# For example "
#: what PyYAML says, what that means, and what to do
_SYNTAX: Final = (
    (r"cannot start any token.*\t", "a tab before a word", "Indent with spaces."),
    (r"cannot start any token", "a value that begins with @, % or `", "Put the value in quotes."),
    (r"found duplicate key (\S+)", r"the key \1 twice", r"Keep one of the two."),
    (
        r"mapping values are not allowed.* in line: (?!.*:\s.*:\s)",
        "a line without `: ` above it",
        "Write `key: value`, with a space after the colon.",
    ),
    (r"mapping values are not allowed", "a second colon in a line", "Put the value in quotes, or divide the line."),
    (r"could not find expected ':'", "a line without `: `", "Write `key: value`, with a space after the colon."),
    (r"expected ',' or '[\]}]'", "a bracket that is not closed", "Close it, and divide what it holds by commas."),
    (r"undefined alias|expected alphabetic", "a * or & in front of a value", "Put the value in quotes."),
    (r"end of stream|unexpected end", "a quote or bracket that is not closed", "Close it."),
    (r"block end|block mapping|block collection", "a line that is not indented like its neighbours", "Indent it like them, with spaces."),
    (
        r"could not determine a constructor for the tag '(\S+)'",
        r"an instruction to make an object (\1)",
        "Write plain values: nothing is run.",
    ),
    (r"", "text that is no YAML", "Indent with spaces and write `key: value`."),
)


def groups_in(folders: Sequence[Path]) -> dict[str, list[str]]:
    """The config groups of these folders, each with its options."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault(group, set()).add(path.stem)
    return {group: sorted(options) for group, options in sorted(found.items())}


def find(folders: Sequence[Path], group: str, option: str, suffix: str = ".yaml") -> Path | None:
    """The file of an option; the first folder that has it wins, as in Hydra."""
    paths = (folder / group / f"{option.removesuffix('.yaml')}{suffix}" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def relative(path: Path) -> str:
    """A path as the user would write it: relative to where they are, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def read(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: if it is not text in UTF-8 or no YAML, or says a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        found = f"a byte that is none (0x{error.object[error.start]:02x} in line {error.object[: error.start].count(10) + 1})"
        raise ConfigError(relative(path), expected="text in UTF-8", found=found, do="Save the file as UTF-8.") from error
    except yaml.YAMLError as error:
        raise syntax_error(error, path) from error


def read_if_possible(path: Path) -> dict[str, Any]:
    """What a YAML file of keys holds; nothing where it is none, for what must not fail."""
    try:
        found = read(path)
    except (ConfigError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def content_of(folders: Sequence[Path], group: str, name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the file of an option holds, above the options that it builds on or holds; `above` are those that it is read for."""
    path = find(folders, group, name) if name and f"{group}/{name}" not in above else None
    own = read_if_possible(path) if path is not None else {}
    defaults, above = own.get("defaults"), (*above, f"{group}/{name}")
    found: dict[str, Any] = {}
    for base in defaults if isinstance(defaults, list) else ():
        if isinstance(base, str) and base not in ("_self_", name):
            found.update(content_of(folders, group, base, above))
        for entry, option in base.items() if isinstance(base, dict) else ():
            noun, _, place = str(entry).lstrip("/").partition("@")
            if place:
                found[place] = content_of(folders, noun, str(option), above)
    return {**found, **own}


def syntax_error(error: Exception, path: Path | None = None) -> ConfigError:
    """An error of YAML in words: the line, what stands there, what to do."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    if path is not None and mark is not None:
        problem += " in line: " + "".join(path.read_text(encoding="utf-8-sig").splitlines()[mark.line : mark.line + 1])
    pattern, found, do = next(row for row in _SYNTAX if re.search(row[0], problem))
    match = re.search(pattern, problem)
    file = relative(path) if path is not None else relative(Path(mark.name)) if mark is not None else "a YAML file"
    where = f"{file}, line {mark.line + 1}" if mark else file
    return ConfigError(where, expected="valid YAML", found=match.expand(found) if match else found, do=do)


def problems_in(folders: Sequence[Path], group: str, option: str, groups: Mapping[str, list[str]]) -> list[ConfigError]:
    """What is wrong with the file of an option, and with those that it builds on."""
    path = find(folders, group, option)
    if path is None:
        return []
    try:
        content = read(path)
    except ConfigError as error:
        return [error]
    where = relative(path)
    if not isinstance(content, dict):
        expected = "keys of an experiment" if group == OVERLAY else "`_target_: package.module.Class` and the values of that class"
        found = "an empty file" if content is None else "a list" if isinstance(content, list) else "a single word"
        return [ConfigError(where, expected=expected, found=found, do="Write it as `key: value`, one a line.")]
    problems = []
    if group == OVERLAY and (line := _line_of_header(path)) != 1:
        do = f"Begin the file with it: without, its keys would not reach the {OVERLAY}."
        found = f"it in line {line}, where Hydra does not look" if line else "none"
        problems.append(ConfigError(where, expected=f"`{_HEADER}` in its first line", found=found, do=do))
    defaults = content.get("defaults", [])
    if not isinstance(defaults, list):
        do = "Write `defaults:` and below it `- name`, one a line."
        return [*problems, ConfigError(f"{where}: defaults", expected="a list", found="a mapping or a word", do=do)]
    for problem, base in _bases(where, group, defaults, groups):
        problems += [problem] if problem else problems_in(folders, *base, groups)
    return problems


def check_folder(folder: Path, shipped: Path) -> None:
    """Whether a folder of the user's own options is laid out as conf/, with names of its own.

    Raises:
        ConfigError: if it holds no group, or an option whose name a shipped one has.
    """
    own, known = groups_in([folder]), groups_in([shipped])
    if not set(own) & set(known):
        inside = folder.resolve().name in known
        do = f"Name the folder above it: --config-dir {relative(folder.resolve().parent)}." if inside else "Put each option into one."
        expected = f"a folder with folders of options ({', '.join(known)})"
        raise ConfigError(f"--config-dir {relative(folder)}", expected=expected, found="none of them", do=do)
    for group, options in own.items():
        for option in set(options) & set(known.get(group, [])):
            path, other = folder / group / f"{option}.yaml", shipped / group / f"{option}.yaml"
            if path.read_bytes() != other.read_bytes():
                do = f"Rename it, for example to my_{option}.yaml, and choose {group}=my_{option}."
                raise ConfigError(relative(path), expected="a name that no shipped option has", found=option, do=do)


def name_file(problem: ConfigError, config: Mapping[str, object], folders: Sequence[Path]) -> ConfigError:
    """The problem with the YAML file that it comes from, if one of the folders holds it, and with what YAML made of the value.

    Where a value has to be given, the example that the file begins with is shown.
    """
    problem = _advised(problem)
    noun, _, rest = problem.where.partition(".")
    node = config.get(noun)
    if not isinstance(node, Mapping):
        return problem
    rest = rest.removesuffix("._target_")
    best, likeness = None, 0
    for path in [path for folder in folders for path in sorted(folder.glob(f"{noun}/*.yaml"))]:
        try:
            content = read(path)
        except ConfigError:
            continue  # not the one that was composed
        if isinstance(content, dict) and (problem.found == "nothing" or _same(content, node, rest)):
            alike = sum(content[key] == node.get(key) for key in content) if content.get("_target_") == node.get("_target_") else 0
            best, likeness = (path, alike) if alike > likeness else (best, likeness)
    if best is None:
        return problem
    example = _example(best) if problem.found == "nothing" else ""
    do = f"{problem.do.removesuffix(' .')}, for example {example}" if f"{problem.where}=" in example else problem.do
    return type(problem)(f"{problem.where} in {relative(best)}", expected=problem.expected, found=problem.found, do=do)


def _example(path: Path) -> str:
    """How the option is chosen with the values that it wants, from the comment that opens its file; nothing where it does not say."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix(_EXAMPLE) for line in lines if line.startswith(_EXAMPLE)), "")


def _advised(problem: ConfigError) -> ConfigError:
    """Adds what YAML or the shell made of a value, where that explains the error."""
    key, found = problem.where, problem.found
    word = found.strip('"')
    do = ""
    if problem.expected == "true or false" and word.lower() in _YES | _NO:
        do = f"Write {key}={'true' if word.lower() in _YES else 'false'}."
    elif problem.expected.startswith("text") and found in ("true", "false"):
        do = "Put it in quotes: YAML reads on, off, yes and no as true and false."
    elif "number" in problem.expected and found.startswith('"') and _NUMBER.fullmatch(word):
        do = "Remove the quotes."
    elif "number" in problem.expected and "list" not in problem.expected and re.fullmatch(r"\[.+\]", found):
        do = f"Write {key}={found.strip('[]').replace(' ', '')} with -m to run each of them."
    return type(problem)(key, expected=problem.expected, found=found, do=do) if do else problem


def _same(content: Mapping[Any, Any], node: Mapping[Any, Any], keys: str) -> bool:
    one: object = content
    other: object = node
    for key in keys.split("."):
        if not isinstance(one, Mapping) or not isinstance(other, Mapping) or key not in one or key not in other:
            return False
        one, other = one[key], other[key]
    return one == other


def _bases(
    where: str, group: str, defaults: Sequence[object], groups: Mapping[str, list[str]]
) -> Iterator[tuple[ConfigError | None, tuple[str, str]]]:
    """Each entry of a `defaults` list as a problem, or as the option that it names."""
    laid_over = False
    for entry in defaults:
        if entry == "_self_":
            continue
        key, option = next(iter(entry.items())) if isinstance(entry, dict) and entry else (f"/{group}", entry)
        said, name = str(key), str(option)
        noun = said.removeprefix("override ").removeprefix("optional ").strip()
        target = noun.lstrip("/").partition("@")[0]
        there = f"{where}: defaults"
        problem = None
        if target.startswith("hydra"):
            continue
        if not isinstance(entry, dict) and laid_over:
            problem = ConfigError(there, expected="`override` lines last", found=f"{name} after them", do=f"Move {name} to the top.")
        elif target not in groups:
            do = suggest(target, groups) or "Correct the name."
            problem = ConfigError(there, expected=f"a group ({', '.join(groups)})", found=target, do=do)
        elif isinstance(entry, dict) and group == OVERLAY and (not said.startswith("override ") or not noun.startswith("/")):
            written = f"`- override /{target}: {name}`"
            problem = ConfigError(there, expected=written, found=f"`- {said}: {name}`", do="Write it so: the group is chosen already.")
        elif isinstance(option, str) and option.removesuffix(".yaml") not in groups[target]:
            do = suggest(option, groups[target]) or "Choose one of them."
            problem = ConfigError(there, expected=f"an option of {target} ({', '.join(groups[target])})", found=name, do=do)
        laid_over = laid_over or said.startswith("override ")
        yield problem, (target, name)


def _line_of_header(path: Path) -> int:
    """The line with the header among the comments that open a file, empty ones not counted; 0 without one."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    comments = takewhile(lambda line: line.startswith("#"), lines)
    return next((number for number, line in enumerate(comments, 1) if re.fullmatch(r"#\s*@package\s+_global_", line)), 0)


@final
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the fast one, where PyYAML has it
    """YAML's safe loader, which does not take a key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {key.value}", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
