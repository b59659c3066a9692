"""What `nnpx --help` and `nnpx VERB --help` print, each on one screen: verbs and commands; every group with its options."""

import os
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from nnpx.configuration import resolvers

_FLAGS: Final = """\
  --params FILE   a composed experiment, this verb alone     --config-dir DIR  your own options
  -m, --multirun  every combination: seed=0,1,2   --cfg job  show it   trusted=[mypkg]  your classes
"""
_CHOICE: Final = re.compile(r"^  - (\w+): (\w+)$", re.MULTILINE)


def overview(verbs: Mapping[str, str], commands: Mapping[str, str]) -> str:
    """The screen of `nnpx --help`: what can be done."""
    shown = {name: textwrap.shorten(line, _width() - 14, placeholder=" …") for name, line in {**verbs, **commands}.items()}
    lines = "".join(f"  {name:<12}{line}\n" for name, line in shown.items())
    more = f"nnpx train network.hidden=[64,64]; `nnpx train --help` lists every group and option of {_place()}"
    return f"usage: nnpx VERB [group=option] [key=value] …  or  nnpx COMMAND …  or  nnpx --version\n{lines}{_FLAGS}  {more}\n"


def about(verb: str, line: str, folders: Sequence[Path]) -> str:
    """The screen of `nnpx VERB --help`: every group, its default first; two short ones share a line."""
    rows = "".join(f"{row}\n" for row in _rows(folders))
    usage = f"usage: nnpx {verb} [group=option] [key=value] …     what they mean: nnpx config explain KEY"
    return f"{usage}\n{textwrap.fill(line, _width())}\n{rows}{_FLAGS}"


def groups(folders: Sequence[Path]) -> dict[str, list[str]]:
    """The groups in the order of conf/config.yaml, each with its options; the default comes first."""
    root = folders[0] / "config.yaml"
    defaults = dict(_CHOICE.findall(root.read_text(encoding="utf-8"))) if root.is_file() else {}
    found: dict[str, list[str]] = {}
    for group, default in defaults.items():
        options = sorted({path.stem for folder in folders for path in folder.glob(f"{group}/*.yaml")})
        found[group] = sorted(options, key=default.__ne__)
    return found


def _rows(folders: Sequence[Path]) -> Iterator[str]:
    """The groups as lines; two neighbours share one where each takes at most half of it."""
    half, left = _width() // 2, ""
    for row in _single_rows(folders):
        if left and len(row) <= _width() - half:
            yield left.ljust(half) + row
            left = ""
            continue
        if left:
            yield left
        left = row if len(row) < half else ""
        if not left:
            yield row
    if left:
        yield left


def _single_rows(folders: Sequence[Path]) -> Iterator[str]:
    for group, options in groups(folders).items():
        lead = f"  {group:<18}"
        yield textwrap.fill(", ".join(options), _width(), initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False)


def _width() -> int:
    return min(100, max(80, shutil.get_terminal_size((100, 24)).columns))


def _place() -> str:
    conf = resolvers.conf_dir()
    return os.path.relpath(conf) if conf.is_relative_to(Path.cwd()) else str(conf)
