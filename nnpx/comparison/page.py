"""The comparison in its forms: a table for the terminal, for Markdown and for a spreadsheet, and a page with the figure."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from nnpx.comparison.rows import COSTS, ERRORS, SEED, Quantity, Row, decisive, factors, validation_sets
from nnpx.comparison.statistics import FEW, Group, groups, importance, pareto_front
from nnpx.report import Cell, Picture, Section, Table, as_markdown, as_rich, text, write_page

#: marks what nothing else beats in both error and cost
MARK: Final = "●"
#: characters of a table where there is no terminal
WIDTH: Final = 120


def table(rows: Sequence[Row]) -> Table:
    """One line per combination of the choices: mean ± σ over the seeds, best first."""
    grouped = ranked(rows)
    shown = [one for one in (*ERRORS, *COSTS) if any(group.values(one) for group in grouped)]
    keys = [key for key in factors(rows) if key != SEED]
    columns = [*(keys or ["run"]), "n", *(f"{one.name} ({one.unit})" if one.unit else one.name for one in shown), "front"]
    front = on_front(grouped, decisive(rows), COSTS[0])
    lines = [
        (
            *([group.choices.get(key, "") for key in keys] or [group.rows[0].name]),
            _count(group),
            *(_mean(group, one) for one in shown),
            MARK if best else "",
        )
        for group, best in zip(grouped, front, strict=True)
    ]
    return Table("", columns, lines)


def tables(rows: Sequence[Row]) -> list[Table]:
    """The table, the importance of each choice where it is known, and what failed."""
    found = [table(rows)]
    shares = importance(rows)
    if not isinstance(shares, str):
        lines: list[Sequence[Cell]] = [(one.factor, f"{100 * one.share:.0f} %", f"{100 * one.by_chance:.0f} %") for one in shares]
        rest = 1 - sum(one.share for one in shares)
        lines.append(("interactions and chance", f"{100 * max(rest, 0):.0f} %", ""))
        found.append(Table("What the error depends on", ("choice", "share", "by chance alone"), lines))
    if failures := [(row.name, row.failure) for row in rows if row.failure]:
        found.append(Table("Failed", ("run", "why"), failures))
    return found


def notes(rows: Sequence[Row]) -> list[str]:
    """What has to be said to read the tables right."""
    said = []
    quantity = decisive(rows)
    if any(len(group.done) > 1 for group in groups(rows)):
        said.append("Mean ± standard deviation over the seeds; n is the number of runs.")
    if quantity is not None:
        said.append(f"Mean absolute errors on the validation set. {MARK}: nothing else is better in the {quantity.name} and faster.")
    if (n_sets := validation_sets(rows)) > 1:
        said.append(f"They were not all measured on the same structures, but on {n_sets} validation sets: errors differ for that too.")
    if any(COSTS[0].key in row.found for row in rows):
        said.append("Times are those of a clock on the wall: whatever else the machine did is in them.")
    if any(one.key in row.found for row in rows for one in ERRORS[3:]):
        said.append("Errors on the test set are told, and decided nothing.")
    shares = importance(rows)
    if isinstance(shares, str):
        said.append(f"The importance of each choice is {shares}.")
    elif quantity is not None:
        few = f" With {len(rows)} runs these shares are rough." if len(rows) < FEW else ""
        said.append(f"Shares are those of the variance of ln({quantity.name} error): main effects of an analysis of variance.{few}")
    return said


def ranked(rows: Sequence[Row]) -> list[Group]:
    """The groups by their error, the best first; those without one last."""
    quantity = decisive(rows)
    means = [(group, group.mean(quantity) if quantity is not None else None) for group in groups(rows)]
    return [group for group, _ in sorted(means, key=lambda pair: (pair[1] is None, pair[1] or 0.0))]


def on_front(grouped: Sequence[Group], error: Quantity | None, cost: Quantity) -> list[bool]:
    """Whether each group is on the Pareto front of its means."""
    if error is None:
        return [False] * len(grouped)
    means = [(group.mean(cost), group.mean(error)) for group in grouped]
    known = [(x, y) for x, y in means if x is not None and y is not None]
    front = {point for point, best in zip(known, pareto_front(known), strict=True) if best}
    return [point in front for point in means]


def show(rows: Sequence[Row]) -> None:
    """Prints tables and notes."""
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    for one in tables(rows):
        console.print(as_rich(one))
    for line in notes(rows):
        console.print(line, highlight=False)


def markdown(rows: Sequence[Row]) -> str:
    """Tables and notes as Markdown."""
    return "\n".join([*(as_markdown(one) for one in tables(rows)), *(f"{line}\n" for line in notes(rows))])


def spreadsheet(rows: Sequence[Row]) -> str:
    """Every run as a line of comma-separated values, numbers in eV, Å, µs and s."""
    keys = factors(rows)
    numbers = [one.key for one in (*ERRORS, *COSTS) if any(one.key in row.found for row in rows)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["run", *keys, *numbers, "failure"])
    for row in rows:
        writer.writerow([row.name, *(row.choices.get(key, "") for key in keys), *(row.found.get(key, "") for key in numbers), row.failure])
    return buffer.getvalue()


def write_report(path: Path, title: str, rows: Sequence[Row], drawing: str | None) -> None:
    """The page: tables, figure, and all runs one by one."""
    figures = [] if drawing is None else [Picture(drawing, figure_caption(rows))]
    found = tables(rows)
    sections = [
        Section("Comparison", tables=found[:1], figures=figures, text=" ".join(notes(rows))),
        *(Section(one.caption, tables=[Table("", one.columns, one.rows)]) for one in found[1:]),
        Section("Runs", folded=[("every run, in eV, Å, µs and s", spreadsheet(rows))]),
    ]
    write_page(path, title, sections)


def figure_caption(rows: Sequence[Row]) -> str:
    """What the figure shows."""
    quantity = decisive(rows)
    error = "error" if quantity is None else f"error of the {quantity.name}"
    return (
        f"The {error} on the validation set against what it costs; bars are standard deviations over seeds, the line is the Pareto front."
    )


def _count(group: Group) -> Cell:
    failed = len(group.rows) - len(group.done)
    return f"{len(group.done)} ({failed} failed)" if failed else str(len(group.done))


def _mean(group: Group, quantity: Quantity) -> Cell:
    mean, sigma = group.mean(quantity), group.sigma(quantity)
    if mean is None:
        return ""
    n_known = len(group.values(quantity))
    of_some = f" ({n_known} of {len(group.done)})" if n_known < len(group.done) else ""
    if not sigma:
        shown = text(int(mean) if mean.is_integer() else mean)
        return f"{shown}{of_some}" if of_some else shown
    decimals = max(0, 1 - math.floor(math.log10(sigma)))  # two digits of σ, and no more of the mean
    return f"{mean:,.{decimals}f} ± {sigma:,.{decimals}f}{of_some}"
