"""Pictures of a round and of the whole loop."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nnpx.figures import COLORS, GRID, INK, STYLE


def uncertainty(frames: Sequence[float], lower: float, upper: float) -> Figure:
    """How uncertain the frames of a round were, and the band in which they are candidates (eV/Å)."""
    finite = np.array([value for value in frames if np.isfinite(value) and value > 0])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(lower, upper, color=GRID, label="candidates")
        if len(finite):
            edges = np.geomspace(min(finite.min(), lower) * 0.9, max(finite.max(), lower) * 1.1, 41)
            axes.hist(finite, bins=edges.tolist(), color=COLORS[0])
        axes.axvline(lower, color=INK, linewidth=0.8)
        axes.set(xscale="log", xlabel="largest calibrated spread of a frame's forces (eV/Å)", ylabel="number of frames")
        axes.legend(loc="best")
    return figure


def errors(row: Mapping[str, Any]) -> Figure:
    """Force errors on the newly labelled structures before and after they were learned."""
    names = [name for name in ("chosen", "drawn") if row[f"{name}_before"] is not None]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2, 2.9), layout="constrained")
        axes = figure.add_subplot()
        for k, when in enumerate(("before", "after")):
            heights = [1e3 * row[f"{name}_{when}"] for name in names]
            drawn = axes.bar(np.arange(len(names)) + 0.38 * k, heights, width=0.36, color=COLORS[1 - k], label=when)
            axes.bar_label(drawn, fmt="%.3g", fontsize=8, padding=2)
        axes.set_xticks(np.arange(len(names)) + 0.19, names)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="labelled frames", ylabel="RMSE of the force on an atom (meV/Å)")
        axes.margins(y=0.15)
        axes.legend(loc="best")
    return figure


def walkers(fates: Sequence[Mapping[str, Any]]) -> Figure:
    """How far every walker went in a round, coloured by how it ended."""
    kinds = sorted({fate["fate"] for fate in fates})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 0.9 + 0.2 * len(fates)), layout="constrained")
        axes = figure.add_subplot()
        for k, kind in enumerate(kinds):
            own = [(row, fate["walked_ps"]) for row, fate in enumerate(fates) if fate["fate"] == kind]
            axes.barh([row for row, _ in own], [way for _, way in own], color=COLORS[k % len(COLORS)], label=kind)
        axes.set_yticks(range(len(fates)), [fate["name"] for fate in fates])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="way in this round (ps)", ylabel="walker")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def learning_curve(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Error on drawn frames, and the uncertainty that the walkers met, against the calculations that the potential had cost by then."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for name, key in {"RMSE on drawn frames": "force_rmse", "quantile 0.99 of the calibrated spread": "spread_q99"}.items():
            own = [(row["n_calls_before"], 1e3 * row[key]) for row in rows if row[key] is not None and np.isfinite(row[key])]
            axes.plot([calls for calls, _ in own], [value for _, value in own], "o-", markersize=4, label=name)
        axes.set(yscale="log", xlabel="calculations with the reference engine", ylabel="force (meV/Å)")
        axes.legend(loc="best")
    return figure
