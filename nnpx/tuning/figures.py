"""The pictures of a search. Every function returns a matplotlib `Figure`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from optuna.trial import FrozenTrial

from nnpx.figures import COLORS, INK, STYLE
from nnpx.tuning.space import Dimension, Interval

#: marks of trials that did not complete
HOLLOW: Final[dict[str, Any]] = {"s": 18, "facecolors": "none", "edgecolors": COLORS[0], "linewidths": 0.9}


def history(trials: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial], objectives: Mapping[str, str]) -> Figure:
    """Every objective of the completed trials in the order of their numbers, the best so far, and where the others were stopped."""
    figure, panels = _panels(len(objectives), width=4.2)
    numbers = [trial.number for trial in trials]
    for k, (axes, (name, direction)) in enumerate(zip(panels, objectives.items(), strict=True)):
        values = np.array([trial.values[k] for trial in trials])
        best = np.minimum.accumulate(values) if direction == "minimize" else np.maximum.accumulate(values)
        axes.scatter(numbers, values, s=18, color=COLORS[0], label="completed")
        if pruned:
            axes.scatter([trial.number for trial in pruned], [trial.values[0] for trial in pruned], **HOLLOW, label="when stopped")
        axes.step(numbers, best, where="post", color=COLORS[1], label="best so far")
        axes.set(xlabel="trial", ylabel=name, yscale=_scale(values))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper right")
    return figure


def slices(trials: Sequence[FrozenTrial], space: Mapping[str, Dimension], objective: str) -> Figure:
    """The first objective against every override of the space; the later the trial, the darker."""
    figure, panels = _panels(len(space), width=3.1)
    values = np.array([trial.values[0] for trial in trials])
    age = np.array([trial.number for trial in trials])
    for axes, (key, dimension) in zip(panels, space.items(), strict=True):
        at = [trial.params[key] for trial in trials]
        if isinstance(dimension, Interval):
            axes.set(xscale="log" if dimension.log else "linear", xlim=_with_margin(dimension))
            if dimension.log and dimension.high > 10 * dimension.low:
                axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            names = dimension.ends()
            at = [names.index(value) for value in at]
            axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
            axes.set_xlim(-0.5, len(names) - 0.5)
        axes.scatter(at, values, c=-age, cmap="cividis", s=20, linewidths=0)
        axes.set(xlabel=key, ylabel=objective, yscale=_scale(values))
    return figure


def pareto(trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial], names: Sequence[str]) -> Figure:
    """The first two objectives against each other; what no other trial beats in all objectives is marked and numbered."""
    figure, (axes,) = _panels(1, width=4.8)
    x, y = (np.array([trial.values[k] for trial in trials]) for k in (0, 1))
    axes.scatter(x, y, s=18, color=COLORS[0], label="trials")
    best = sorted(front, key=lambda trial: trial.values[0])
    axes.plot(*zip(*(trial.values[:2] for trial in best), strict=True), "o--", color=COLORS[1], linewidth=0.9, label="Pareto front")
    for trial in best:
        axes.annotate(str(trial.number), trial.values[:2], xytext=(4, 4), textcoords="offset points", fontsize=8, color=INK)
    axes.set(xlabel=names[0], ylabel=names[1], xscale=_scale(x), yscale=_scale(y))
    axes.legend(loc="upper right")
    return figure


def importances(found: Mapping[str, Mapping[str, float]]) -> Figure:
    """The share of every override in the variance of every objective."""
    figure, panels = _panels(len(found), width=4.2)
    for axes, (objective, shares) in zip(panels, found.items(), strict=True):
        keys = list(shares)[::-1]
        axes.barh(keys, [shares[key] for key in keys], color=COLORS[0], height=0.6)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=f"share in the variance of {objective}", ylabel="override", xlim=(0, 1))
    return figure


def _panels(n: int, *, width: float) -> tuple[Figure, list[Axes]]:
    """Axes beside each other, three in a row, in the shared style (inches)."""
    columns = min(n, 3)
    rows = -(-n // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, 3.0 * rows), layout="constrained")
        return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(n)]


def _with_margin(dimension: Interval) -> tuple[float, float]:
    """The bounds and a little more: a twentieth of the way on either side."""
    low, high = dimension.low, dimension.high
    if dimension.log:
        return low * (low / high) ** 0.05, high * (high / low) ** 0.05
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _scale(values: np.ndarray) -> str:
    """Logarithmic where positive values span more than a decade."""
    return "log" if values.min() > 0 and values.max() > 10 * values.min() else "linear"
