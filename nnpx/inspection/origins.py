"""Where each value of an experiment comes from: a line of a YAML file, or the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from hydra.core.override_parser.types import Override

from nnpx.config import files_of
from nnpx.configuration.overrides import groups_in, parse, relative
from nnpx.inspection.yaml_lines import Line, choices_of, lines_of

COMMAND_LINE: Final = "on the command line"


@final
@dataclass(frozen=True)
class Origins:
    """What is known of a composed experiment besides its values.

    Attributes:
        lines: the last line that sets a key, by its dotted path.
        said: what the command line sets or chooses, key or group → the word.
        options: the option of each group → its file.
        chosen: the line of a file that chooses the option of a group.
    """

    lines: Mapping[str, Line]
    said: Mapping[str, str]
    options: Mapping[str, Path]
    chosen: Mapping[str, Line]

    def of(self, path: str) -> str:
        """Where the value at a dotted path comes from, in words."""
        for key in _upwards(path):
            if key in self.said and key not in self.options:
                return f"{COMMAND_LINE}: {self.said[key]}"
        return told(self.lines[path]) if path in self.lines else ""

    def of_choice(self, group: str) -> str:
        """Where the option of a group is chosen, in words."""
        if group in self.said:
            return f"{COMMAND_LINE}: {self.said[group]}"
        return f"in {told(self.chosen[group])}" if group in self.chosen else "by default"


def origins(overrides: Sequence[str], config_dir: Path | None, folders: Sequence[Path]) -> Origins:
    """The origin of everything in the experiment that conf/ and the overrides describe.

    Raises:
        ConfigError: if it cannot be composed.
    """
    groups = groups_in(folders)
    said = {_key(override): override.input_line or "" for override in parse(overrides) if not _key(override).startswith("hydra")}
    lines: dict[str, Line] = {}
    options: dict[str, Path] = {}
    files = files_of(overrides, config_dir)
    for path, place in files:
        lines |= {f"{place}.{key}" if place else key: line for key, line in lines_of(path).items()}
        group = path.parent.name
        if group in groups and place in ("", group):
            options[group] = path
    chosen = {}
    for path, _ in files:
        for group, (option, line) in choices_of(path).items():
            if group in options and options[group].stem == option:
                chosen[group] = line
    return Origins(lines, said, options, chosen)


def told(line: Line) -> str:
    """`conf/descriptor/acsf.yaml:3`."""
    return f"{relative(line.path)}:{line.number}"


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _upwards(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
