"""Draws the curves of several revisions in one page that needs no network."""

import csv
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nnpx.errors import ConfigError

if TYPE_CHECKING:
    from nnpx.report import Picture

_HELP: Final = """\
usage: nnpx plots [REVISION …]

Draws the learning curves and errors that `dvc plots diff` compares, each revision in its colour, into reports/plots.html. A revision is
a commit, a tag, a branch or the name of a DVC experiment; one alone is compared with what lies in this folder.

  nnpx plots HEAD~1
  nnpx plots main wired-weal
"""
PAGE: Final = Path("reports/plots.html")
#: what lies in this folder, as DVC calls it
_HERE: Final = "workspace"


def main(words: list[str]) -> int:
    """Writes the page; the exit code."""
    if {"-h", "--help"} & set(words):
        sys.stdout.write(_HELP)
        return 0
    wrong = [word for word in words if word.startswith("-")]
    plots = _plots(Path("dvc.yaml"))
    if wrong or not plots:
        found, do = (wrong[0], "See `nnpx plots --help`.") if wrong else ("none in dvc.yaml", "Run this in the folder of a project.")
        raise ConfigError("nnpx plots", expected="revisions of a project with plots", found=found, do=do)
    from nnpx.report import Section, write_page

    revisions = words if len(words) > 1 else [*words, _HERE]
    drawn = _pictures(plots, revisions)
    write_page(PAGE, " · ".join(revisions), [Section("Plots", figures=drawn, text="" if drawn else "There is nothing to draw yet.")])
    sys.stdout.write(f"plots      {PAGE}\n")
    return 0


def _plots(file: Path) -> dict[str, dict[str, Any]]:
    """The plots of dvc.yaml that compare revisions: a file with columns x and y."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    named = {name: plot for entry in content.get("plots", []) if isinstance(entry, dict) for name, plot in entry.items() if plot}
    return {name: plot for name, plot in named.items() if isinstance(plot.get("y"), dict) and isinstance(plot.get("x"), str)}


def _pictures(plots: dict[str, dict[str, Any]], revisions: list[str]) -> "list[Picture]":
    from nnpx import figures
    from nnpx.data.versions import checked_out
    from nnpx.report import Picture

    files = sorted({Path(file) for plot in plots.values() for file in plot["y"]})
    drawn = []
    with ExitStack() as stack:
        folders = {one: Path() if one == _HERE else stack.enter_context(checked_out(one, files, Path())) for one in revisions}
        for name, plot in plots.items():
            x, (file, y) = plot["x"], next(iter(plot["y"].items()))
            series = {one: _columns(folder / file, x, y) for one, folder in folders.items()}
            series = {one: pair for one, pair in series.items() if len(pair[0])}
            labels = {"xlabel": plot.get("x_label", x), "ylabel": plot.get("y_label", y)}
            if series:
                scatter = plot.get("template") == "scatter"
                figure = (
                    figures.points(series, **labels) if scatter else figures.lines(series, **labels, xlog=x != "epoch", ylog=x == "epoch")
                )
                drawn.append(Picture(figures.svg(figure), name))
    return drawn


def _columns(file: Path, x: str, y: str) -> "tuple[list[float], list[float]]":
    """Two columns of a CSV file, where both have a number; empty where there is no such file."""
    if not file.is_file():
        return [], []
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(float(row[x]), float(row[y])) for row in csv.DictReader(lines) if row.get(x) and row.get(y)]
    return [one for one, _ in rows], [other for _, other in rows]
