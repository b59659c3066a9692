"""A report is one HTML file: tables, figures and text, readable offline, without scripts, in light and dark."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from rich.table import Table as RichTable

from nnpx.files import md5, read_json

Cell = str | float | int | None
#: the key in a metrics.json that tells the checksum of the potential with which it was measured
POTENTIAL: Final = "potential_md5"
#: most decimals of a number with its error; what needs more is written with a power of ten
_MOST_DECIMALS: Final = 6

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --soft: #59636e; --line: #d9dee3; --card: #f6f8fa; --accent: #0060a0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --ink: #e6e9ec; --soft: #9aa4af; --line: #333a42; --card: #1c2127; --accent: #6cb8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p { max-width: 46rem; }
nav { margin-bottom: 1rem; display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.tables { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: flex-start; }
.table { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; }
th, td { padding: .28rem 1.2rem .28rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1.2rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { color: #4b545e; font-size: .85rem; margin-top: .5rem; contain: inline-size; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
  font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
"""


@final
@dataclass(frozen=True)
class Table:
    """Rows under column names. Numbers are written with three digits; None stays empty."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@final
@dataclass(frozen=True)
class Picture:
    """A figure as SVG with a sentence that says what to see."""

    svg: str
    caption: str


@final
@dataclass(frozen=True)
class Section:
    """A chapter of a page: text, then tables, then figures, then texts that open on a click."""

    title: str
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()
    text: str = ""
    folded: Sequence[tuple[str, str]] = field(default=())  #: title and preformatted text


def of_potential(path: Path, potential: Path) -> dict[str, Any]:
    """The numbers of a metrics.json; none where there are none, or where they were measured with another potential than this one.

    Args:
        path: what `nnpx evaluate` or `nnpx simulate` has written.
        potential: the present potential.
    """
    found = read_json(path)
    return found if potential.is_file() and found.pop(POTENTIAL, None) == md5(potential) else {}


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the sections as one self-contained HTML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(title, sections), encoding="utf-8")


def page(title: str, sections: Sequence[Section]) -> str:
    """The HTML text of a page."""
    links = "".join(f'<a href="#section-{k}">{html.escape(section.title)}</a>' for k, section in enumerate(sections) if len(sections) > 1)
    body = "\n".join(_section(k, section) for k, section in enumerate(sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def picture(path: Path) -> Picture:
    """A figure from an SVG file; its caption is the file's title, else its name."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    return Picture(text, html.unescape(found.group(1)) if found else path.stem.replace("_", " "))


def as_rich(table: Table) -> RichTable:
    """The same table for a terminal."""
    shown = RichTable(title=table.caption or None, title_justify="left", title_style="bold")
    shown.show_header = any(table.columns)
    for k, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if _is_number_column(table, k) else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(text(cell) for cell in row))
    return shown


def as_markdown(table: Table) -> str:
    """The same table for a README, a commit or an issue."""
    bars = [["---:" if _is_number_column(table, k) else "---" for k in range(len(table.columns))]]
    lines = [table.columns, *bars, *([text(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in table.rows)]
    title = f"**{table.caption}**\n\n" if table.caption else ""
    return title + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text(cell: Cell) -> str:
    """A cell as text: three significant digits, thousands separated."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return "–"
        return f"{cell:,.0f}" if 1000 <= abs(cell) < 1e6 else f"{cell:#.3g}".rstrip(".")
    return f"{cell:,}" if isinstance(cell, int) else cell


def with_error(value: float | int | None, error: float | int | None) -> str | None:
    """A number with its standard error, to the second digit of that, such as `109.53 ± 0.12`; nothing where there is none."""
    if value is None or error is None:
        return None if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(error))) if error > 0.0 else _MOST_DECIMALS + 1
    return f"{value:.4g} ± {error:.2g}" if decimals > _MOST_DECIMALS else f"{value:,.{decimals}f} ± {error:,.{decimals}f}"


def _section(number: int, section: Section) -> str:
    parts = [f'<section id="section-{number}">', f"<h2>{html.escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.tables:
        parts.append(f'<div class="tables">{"".join(_table(table) for table in section.tables)}</div>')
    if section.figures:
        drawn = "".join(_figure(f"s{number}f{k}-", one) for k, one in enumerate(section.figures))
        parts.append(f'<div class="figures">{drawn}</div>')
    parts.extend(
        f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(content)}</pre></details>" for title, content in section.folded
    )
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    classes = [' class="number"' if _is_number_column(table, k) else "" for k in range(len(table.columns))]
    head = "".join(f"<th{c}>{html.escape(column)}</th>" for c, column in zip(classes, table.columns, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{c}>{html.escape(text(cell))}</td>" for c, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    head = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    return f'<div class="table"><table>{caption}{head}<tbody>{rows}</tbody></table></div>'


def _is_number_column(table: Table, k: int) -> bool:
    cells = [row[k] for row in table.rows if row[k] is not None]
    return bool(cells) and not any(isinstance(cell, str) for cell in cells)


def _figure(prefix: str, one: Picture) -> str:
    drawing = _inline(one.svg, prefix, one.caption)
    return f"<figure>{drawing}<figcaption>{html.escape(one.caption)}</figcaption></figure>"


def _inline(svg: str, prefix: str, label: str) -> str:
    """The drawing alone, with names that no other drawing on the page has."""
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*|<title>.*?</title>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="', f'id="{prefix}', drawing)
    drawing = re.sub(r"url\(#", f"url(#{prefix}", drawing)
    drawing = re.sub(r'href="#', f'href="#{prefix}', drawing)
    return drawing.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label, quote=True)}" ', 1)
