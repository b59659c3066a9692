"""The composed experiment as YAML, each value with where it comes from."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from rich.console import Console
from rich.text import Text

from nnpx.inspection.origins import COMMAND_LINE, Origins

#: the comments stand in this column, or behind a longer value
_COLUMN: Final = 52


def tree(config: Mapping[str, Any], origins: Origins, path: str = "", indent: int = 0) -> Iterator[tuple[str, str]]:
    """Every line of the YAML text, with its origin."""
    for key, value in config.items():
        where, lead = f"{path}{key}", "  " * indent
        if isinstance(value, Mapping) and value:
            option = origins.options.get(where)
            yield f"{lead}{_written(key)}:", f"{option.stem}, chosen {origins.of_choice(where)}" if option is not None else ""
            yield from tree(value, origins, f"{where}.", indent + 1)
        else:
            yield f"{lead}{_written(key)}: {_written(value)}", origins.of(where)


def print_tree(config: Mapping[str, Any], origins: Origins, console: Console) -> None:
    """Coloured and cut to the width of a terminal; plain and complete, still YAML, in a pipe."""
    for left, origin in tree(config, origins):
        if console.is_terminal:
            console.print(_coloured(left, origin, console.width), no_wrap=True, overflow="ellipsis")
        else:
            console.file.write(f"{left:<{_COLUMN}}  # {origin}\n" if origin else f"{left}\n")


def _coloured(left: str, origin: str, width: int) -> Text:
    room = max(20, width - len(origin) - 4)
    cut = left if len(left) <= room else f"{left[: room - 1]}…"
    key, colon, value = cut.partition(":")
    text = Text.assemble((key, "bold" if not value else "cyan"), colon, value)
    text.pad_right(max(0, min(_COLUMN, room) - len(cut)))
    return text.append(f"  # {origin}" if origin else "", "yellow" if COMMAND_LINE in origin else "dim")


def _written(value: Any) -> str:
    """A value as YAML would write it in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").rstrip("\n")
