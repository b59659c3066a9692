"""The one figure of a comparison: error against each cost with the Pareto front, error against the size of the training set, importance."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from nnpx.comparison.page import figure_caption, on_front
from nnpx.comparison.rows import COSTS, ERRORS, Quantity, Row, decisive, factors
from nnpx.comparison.statistics import Group, Share, groups, importance
from nnpx.figures import COLORS, INK, STYLE, svg

#: the choice that makes a learning curve
SIZE: Final = "data.split.n_train"
#: an axis is logarithmic where the largest value is so many times the smallest
WIDE: Final = 5.0
#: so many combinations have colours and a legend; more have their names beside their points
NAMED: Final = 7
#: and of so many, only those on the front
CROWDED: Final = 20
#: numbers on a logarithmic axis are this long at most, then 20k
LONG: Final = 1e4


def draw(rows: Sequence[Row]) -> Figure | None:
    """The figure, with as many panels as the runs have something to show; none if they have no error in common."""
    error = decisive(rows)
    if error is None:
        return None
    done = [row for row in rows if not row.failure]
    grouped, shares = groups(done), importance(rows)
    panels: list[Callable[[Axes], None]] = [
        partial(_trade_off, grouped=grouped, error=error, cost=cost) for cost in COSTS if all(group.values(cost) for group in grouped)
    ]
    if _is_curve(done):
        shown = [one for one in ERRORS[:2] if all(group.values(one) for group in grouped)]
        panels += [partial(_learning_curve, grouped=grouped, error=one) for one in shown]
    if not isinstance(shares, str):
        panels.append(partial(_importance, shares=shares))
    if not panels:
        return None
    with mpl.rc_context(STYLE):
        columns = 2 if len(panels) == 4 else min(3, len(panels))
        lines = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(3.3 * columns, 2.9 * lines), layout="constrained")
        for k, panel in enumerate(panels):
            panel(figure.add_subplot(lines, columns, k + 1))
        if len(grouped) <= NAMED:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def drawing(rows: Sequence[Row]) -> str | None:
    """The figure as SVG."""
    figure = draw(rows)
    return None if figure is None else svg(figure, caption=figure_caption(rows))


def _trade_off(axes: Axes, grouped: Sequence[Group], error: Quantity, cost: Quantity) -> None:
    for k, group in enumerate(grouped):
        spread = [[sigma] if (sigma := group.sigma(one)) else None for one in (cost, error)]
        color = COLORS[k % len(COLORS)] if len(grouped) <= NAMED else COLORS[0]
        axes.errorbar(
            [group.mean(cost) or 0.0], [group.mean(error) or 0.0], xerr=spread[0], yerr=spread[1], fmt="o", color=color, label=_name(group)
        )
    best = [group for group, is_best in zip(grouped, on_front(grouped, error, cost), strict=True) if is_best]
    if len(grouped) > NAMED and best:
        _label(axes, grouped if len(grouped) <= CROWDED else best, error, cost)
    line = sorted((group.mean(cost) or 0.0, group.mean(error) or 0.0) for group in best)
    axes.step([x for x, _ in line], [y for _, y in line], where="post", color=INK, linewidth=0.9, zorder=1)
    axes.set(xlabel=f"{cost.name} ({cost.unit})" if cost.unit else cost.name, ylabel=f"{error.name} error ({error.unit})")
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        low, high = axis.get_data_interval()
        if 0 < WIDE * low < high:
            _logarithmic(axes, name, axis)
        else:
            axis.set_major_locator(MaxNLocator(4))


def _label(axes: Axes, named: Sequence[Group], error: Quantity, cost: Quantity) -> None:
    """The name of each point: above it, or below where its nearest is higher."""
    places = [(group.mean(cost) or 0.0, group.mean(error) or 0.0) for group in named]
    points = np.log(np.maximum(places, np.finfo(float).tiny))
    points /= np.where(np.ptp(points, axis=0) > 0.0, np.ptp(points, axis=0), 1.0)
    apart = ((points[:, None] - points) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    for group, place, point, nearest in zip(named, places, points, points[apart.argmin(1)], strict=True):
        beside = (3, -9) if nearest[1] > point[1] else (3, 3)
        axes.annotate(_name(group, is_short=True), place, xytext=beside, textcoords="offset points", fontsize=6, color=INK)


def _learning_curve(axes: Axes, grouped: Sequence[Group], error: Quantity) -> None:
    curves: dict[str, list[Group]] = {}
    for group in grouped:
        others = " ".join(f"{key}={value}" for key, value in group.choices.items() if key != SIZE)
        curves.setdefault(others, []).append(group)
    for name, members in curves.items():
        ordered = sorted(members, key=lambda group: float(group.choices[SIZE]))
        sizes, means = [float(group.choices[SIZE]) for group in ordered], [group.mean(error) or 0.0 for group in ordered]
        axes.errorbar(sizes, means, yerr=[group.sigma(error) or 0.0 for group in ordered], marker="o", capsize=2, label=name or None)
    axes.set(xlabel="training structures", ylabel=f"{error.name} error ({error.unit})")
    _logarithmic(axes, "x", axes.xaxis)
    _logarithmic(axes, "y", axes.yaxis)
    if 1 < len(curves) <= NAMED:
        axes.legend()


def _importance(axes: Axes, shares: Sequence[Share]) -> None:
    names = [one.factor for one in shares]
    axes.barh(names, [100 * one.share for one in shares], color=COLORS[0], height=0.6, label="share")
    axes.plot(
        [100 * one.by_chance for one in shares], names, "|", color=COLORS[1], markersize=14, markeredgewidth=2, label="by chance alone"
    )
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="share of the variance of ln(error) (%)", ylabel="choice", xlim=(0, 100))
    axes.legend(loc="lower right")


def _logarithmic(axes: Axes, name: str, axis: Axis) -> None:
    axes.set(**{f"{name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100 else (1.0,)) if high / low > WIDE else MaxNLocator(4))
    axis.set_major_formatter(lambda number, _: f"{number:g}" if number < LONG else EngFormatter(sep="")(number))
    axis.set_minor_formatter(NullFormatter())


def _name(group: Group, *, is_short: bool = False) -> str:
    """Its choices; in short, without saying of what."""
    return " ".join(value if is_short else f"{key}={value}" for key, value in group.choices.items()) or group.rows[0].name


def _is_curve(rows: Sequence[Row]) -> bool:
    """Whether the size of the training set varies, in numbers."""
    if SIZE not in factors(rows):
        return False
    try:
        return all(float(row.choices[SIZE]) > 0 for row in rows)
    except (KeyError, ValueError):
        return False
