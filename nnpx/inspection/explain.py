"""What a key of an experiment means: its class, type, range, unit, value, options and references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final, get_args, get_origin

from nnpx.configuration import signatures
from nnpx.configuration.annotations import describe, show
from nnpx.configuration.places import options_with, suggest_place
from nnpx.configuration.schema import NOUNS, SCALARS, is_node, parameters_of, paths_in
from nnpx.configuration.targets import locate, suggest
from nnpx.errors import ConfigError
from nnpx.inspection.docstrings import argument, links, summary, unit
from nnpx.inspection.origins import Origins
from nnpx.inspection.yaml_lines import headline, lines_of

_MARGIN: Final = 10


@final
@dataclass(frozen=True)
class Key:
    """One key of a composed experiment."""

    path: str
    value: Any
    annotation: Any
    owner: Any  #: the class that takes the key; None at the root


def explain(path: str, config: Mapping[str, Any], origins: Origins, folders: Sequence[Path]) -> list[str]:
    """What is known of a key, line by line.

    Raises:
        ConfigError: if the experiment has no such key.
    """
    key = _find(path, config, folders)
    option = origins.options.get(path)
    if option is not None:
        return list(_group(key, option, origins, folders))
    return [*_key(key, origins, folders), *(_keys_of(key, origins) if is_node(key.value) else ())]


def only_option(path: str, config: Mapping[str, Any], folders: Sequence[Path]) -> str:
    """The one option that has a key which the chosen one has not: `data=extxyz` for data.level_of_theory; nothing otherwise."""
    others = options_with(path, folders) if path not in paths_in(config) else []
    return f"{path.partition('.')[0]}={others[0]}" if len(others) == 1 else ""


def _find(path: str, config: Mapping[str, Any], folders: Sequence[Path]) -> Key:
    """The key of a path; a class is found by its name, so that the check of `locate` holds here too."""
    key = Key("", config, Any, None)
    for part in path.split("."):
        if not isinstance(key.value, Mapping) or part not in key.value or part == "_target_":
            raise _unknown(path, config, folders)
        kind = locate(key.value["_target_"], key.path) if is_node(key.value) else None
        if kind is not None:
            taken = parameters_of(kind).get(part)
            annotation = taken.annotation if taken is not None else Any
        else:
            annotation = SCALARS.get(part, Any) if not key.path else _inner(key.annotation)
        owner = kind if kind is not None else key.owner
        key = Key(f"{key.path}.{part}" if key.path else part, key.value[part], annotation, owner)
    return key


def _inner(annotation: Any) -> Any:
    return get_args(annotation)[-1] if get_origin(annotation) is dict else Any


def _group(key: Key, option: Path, origins: Origins, folders: Sequence[Path]) -> Iterator[str]:
    """A noun: what it is, which option is chosen with which keys, and which there are."""
    yield f"{key.path}: {summary(signatures.docstring(f'nnpx.{key.path}')) or headline(option)}"
    yield _row("chosen", f"{option.stem}, {origins.of_choice(key.path)}")
    yield from _keys_of(key, origins)
    files = {path.stem: path for folder in folders for path in sorted(folder.glob(f"{key.path}/*.yaml"))}
    width = max(len(name) for name in files)
    for number, (name, path) in enumerate(files.items()):
        yield _row("options" if number == 0 else "", f"{name:<{width}}  {headline(path)}")
    yield from _references(*(headline(path) for path in files.values()), getattr(locate(key.value["_target_"], key.path), "__doc__", ""))


def _key(key: Key, origins: Origins, folders: Sequence[Path]) -> Iterator[str]:
    name = key.path.rpartition(".")[2]
    line = lines_of(folders[0] / "config.yaml").get(name) if key.path in SCALARS else origins.lines.get(key.path)
    comment = line.comment if line is not None else ""
    words = argument(key.owner, name) if key.owner is not None else comment
    yield f"{key.path}: {words or comment or 'no description'}"
    if key.owner is not None:
        yield _row("of", f"{key.owner.__name__}: {summary(key.owner.__doc__ or '')}")
    yield _row("type", describe(key.annotation))
    if unit(name, comment):
        yield _row("unit", unit(name, comment))
    if not is_node(key.value):
        yield _row("value", f"{show(key.value)}, {origins.of(key.path)}")
    if comment and comment not in (words.rstrip("."), unit(name, comment)):
        yield _row("comment", comment)
    if is_node(key.value) and isinstance(key.annotation, type):
        kinds = signatures.subclasses(key.annotation) if key.annotation.__module__.startswith("nnpx.") else []
        for number, kind in enumerate(kinds):
            label = "options" if number == 0 else ""
            yield _row(label, f"_target_: {kind.__module__}.{kind.__name__}  {summary(kind.__doc__ or '')}")
    yield from _references(words, comment, getattr(key.owner, "__doc__", None) or "")


def _keys_of(node: Key, origins: Origins) -> Iterator[str]:
    """The keys of a node, one line each."""
    kind = locate(node.value["_target_"], node.path)
    yield _row("class", f"{node.value['_target_']}: {summary(kind.__doc__ or '')}")
    for key, taken in parameters_of(kind).items():
        if not taken.wired:
            line = origins.lines.get(f"{node.path}.{key}")
            measure = unit(key, line.comment if line is not None else "")
            value = "" if is_node(node.value.get(key)) else f" = {show(node.value.get(key))}"
            yield f"  {node.path}.{key}{value}: {describe(taken.annotation)}{f', {measure}' if measure else ''}"


def _references(*texts: str) -> Iterator[str]:
    for number, link in enumerate(links(*(text for text in texts if text))):
        yield _row("see" if number == 0 else "", link)


def _row(label: str, text: str) -> str:
    return f"  {label:<{_MARGIN}}{text}"


def _unknown(path: str, config: Mapping[str, Any], folders: Sequence[Path]) -> ConfigError:
    noun, others = path.partition(".")[0], options_with(path, folders)
    if others:
        do = f"Say `nnpx config explain {path} {noun}={others[0]}`."
        raise ConfigError(path, expected=f"a key of the option of {noun} that is chosen", found=f"one of {noun}={', '.join(others)}", do=do)
    known = [key for key in paths_in(config) if not key.endswith("_target_")]
    is_elsewhere = path.rpartition(".")[2] in {key.rpartition(".")[2] for key in known}
    near = "" if is_elsewhere else suggest(path, known, 0.75)
    hint = near or suggest_place(path, known) or suggest(path, (*NOUNS, *SCALARS))
    return ConfigError(path, expected="a key of the experiment", found=path, do=hint or "`nnpx config show` lists them.")
