"""Tells how two versions of the data differ (`diff`), or shows the card of one (`card`)."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nnpx.arguments import Parser
from nnpx.errors import ConfigError

if TYPE_CHECKING:
    from nnpx.data.difference import Difference
    from nnpx.data.versions import Version
    from nnpx.report import Table

_HELP: Final = """\
usage: nnpx data diff A [B] [--tolerance NUMBER] [--markdown]
       nnpx data card [A] [--markdown]

A and B are files, prepared folders, projects, git revisions, DVC experiments, or REVISION:PATH. Without B, A is compared with the data
of this folder. Structures are the same within the tolerance, by default data.near_duplicate of conf/. As with `diff`, the exit code is 0
where nothing differs and 1 where something does.

  nnpx data diff HEAD~1
  nnpx data diff v1 v2 --markdown
  nnpx data diff old.extxyz HEAD:data/inputs/new.extxyz
"""
#: structures that the list of the most changed ones names
_LISTED: Final = 10


def main(words: list[str]) -> int:
    """Runs `diff` or `card`; the exit code."""
    options = _parse(words)
    if options.help or options.what is None:
        sys.stdout.write(_HELP)
        return 0 if options.help else 2
    from nnpx.config import compose
    from nnpx.data.versions import open_version

    here = Path.cwd()
    if options.what == "card":
        if options.tolerance is not None:
            raise ConfigError(
                "nnpx data card", expected="no tolerance", found=f"{options.tolerance:g}", do="Leave it out: it is for `diff`."
            )
        if options.b is not None:
            do = f"Leave {options.b} out; nnpx prepare data=extxyz data.path=FILE takes keys, and shows the card, too."
            raise ConfigError("nnpx data card", expected="one version", found=f"{options.a} and {options.b}", do=do)
        _show([_card_table(open_version(options.a or ".", here))], markdown=options.markdown)
        return 0
    if options.a is None:
        raise ConfigError("nnpx data diff", expected="a version to compare with", found="none", do="Name one: nnpx data diff HEAD~1")
    from nnpx.data.difference import difference

    old, new = open_version(options.a, here), open_version(options.b or ".", here)
    tolerance = compose().data.near_duplicate if options.tolerance is None else options.tolerance
    found = difference(old, new, tolerance=tolerance)
    _show(_tables(found, old, new), markdown=options.markdown)
    return 1 if found else 0


def _parse(words: list[str]) -> Namespace:
    parser = Parser(prog="nnpx data", add_help=False, allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=("diff", "card"))
    parser.add_argument("a", nargs="?")
    parser.add_argument("b", nargs="?")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--tolerance", type=float)
    return parser.parse_intermixed_args(words)


def _show(tables: "list[Table]", *, markdown: bool) -> None:
    from rich.console import Console

    from nnpx.report import as_markdown, as_rich

    if markdown:
        sys.stdout.write("\n".join(as_markdown(table) for table in tables))
        return
    console = Console()
    for table in tables:
        console.print(as_rich(table))


def _card_table(version: "Version") -> "Table":
    from nnpx.data.difference import lines
    from nnpx.report import Table

    return Table(version.name, ("", ""), list(lines(version).items()))


def _tables(found: "Difference", old: "Version", new: "Version") -> "list[Table]":
    from nnpx.data.difference import counts
    from nnpx.report import Table

    tables = [Table(f"{old.name} → {new.name}", ("structures", "", ""), counts(found, old, new))]
    if found.stated:
        tables.append(Table("Card", ("", old.name, new.name), found.stated))
    if found.relabelled:
        rows = [
            (new.parts[one.after] or "–", one.after, str(new.structures[one.after].symbols), 1e3 * one.energy, 1e3 * one.forces)
            for one in found.relabelled[:_LISTED]
        ]
        tables.append(Table("Relabelled, largest change first", ("part", "index", "formula", "ΔE (meV/atom)", "ΔF (meV/Å)"), rows))
    return tables
