"""Where each key of a YAML file stands, and what its comment says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: a choice of a group among the defaults: `override /descriptor: acsf`, `optional md: nve`, `/md@nve: nve`
_CHOICE: Final = re.compile(r"(?:(?:override|optional)\s+)*/?([\w/]+)(?:@.*)?")


@dataclass(frozen=True)
class Line:
    """One line of a file, and its comment."""

    path: Path
    number: int
    comment: str


def lines_of(path: Path) -> Mapping[str, Line]:
    """The line of every key, by its dotted path inside the file."""
    return _read(path, path.stat().st_mtime_ns)[0]


def choices_of(path: Path) -> Mapping[str, tuple[str, Line]]:
    """The groups that a file chooses an option of: group → option and line."""
    return _read(path, path.stat().st_mtime_ns)[1]


def headline(path: Path) -> str:
    """The comment that opens a file: what the option is."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ")
        if line and not line.startswith("#"):
            break
    return ""


@cache
def _read(path: Path, _: int) -> tuple[dict[str, Line], dict[str, tuple[str, Line]]]:
    text = path.read_text(encoding="utf-8")
    root, rows = yaml.compose(text, Loader=_LOADER), text.splitlines()
    if not isinstance(root, yaml.MappingNode):
        return {}, {}

    first = min((key.start_mark.line for key, _ in root.value), default=0)

    def line(node: Any) -> Line:
        number = node.start_mark.line
        comment = rows[number].partition(" # ")[2].strip()
        above = rows[number - 1] if number > first else ""  # the comment that opens the file is about the file
        return Line(path, number + 1, comment or (above.lstrip("# ") if above.startswith("#") else ""))

    keys = {key: line(node) for key, node in _keys(root, "") if key.partition(".")[0] != "defaults"}
    listed = [value.value for key, value in root.value if key.value == "defaults" and isinstance(value, yaml.SequenceNode)]
    entries: list[Any] = listed[0] if listed else []
    chosen = {}
    for entry in entries:
        for key, value in entry.value if isinstance(entry, yaml.MappingNode) else []:
            match = _CHOICE.fullmatch(str(key.value))
            if match is not None:
                chosen[match[1]] = (str(value.value), line(key))
    return keys, chosen


def _keys(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        yield path, key
        if isinstance(value, yaml.MappingNode):
            yield from _keys(value, f"{path}.")
