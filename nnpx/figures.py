"""The pictures of a report: one style, colours that colour-blind readers can tell apart, SVG that is the same byte for byte.

Every function returns a matplotlib `Figure`; `svg` turns it into text.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import matplotlib as mpl
import numpy as np
from cycler import cycler
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

#: Okabe & Ito, https://jfly.uni-koeln.de/color/
COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK: Final = "#24292f"
GRID: Final = "#e4e7eb"
STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "axes.prop_cycle": cycler(color=COLORS),
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 144,
    "svg.hashsalt": "nnpx",
    "svg.fonttype": "none",
}
#: points beyond this number are drawn as pixels, which keeps the file small
VECTOR_POINTS: Final = 500

Series = Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]]


def svg(figure: Figure, *, caption: str = "") -> str:
    """The figure as SVG, without a date, the same text for the same data; the caption becomes the drawing's title."""
    buffer = io.BytesIO()
    title = {"Title": caption} if caption else {}
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, **title})
    return buffer.getvalue().decode()


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def parity(label: np.ndarray, prediction: np.ndarray, *, quantity: str, unit: str) -> Figure:
    """Prediction against label, `unit` eV or eV/…; on the diagonal they agree. The colour is the density of points."""
    finite = np.isfinite(label) & np.isfinite(prediction)
    x, y = label[finite].ravel(), prediction[finite].ravel()
    figure, axes = _blank(3.6, 3.4)
    low, high = _span(np.concatenate([x, y]))
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, zorder=1)
    _cloud(axes, x, y)
    error = np.abs(y - x)
    mae, rmse = 1e3 * error.mean(), 1e3 * np.sqrt((error**2).mean())
    text = f"MAE {_plain(mae)} m{unit}\nRMSE {_plain(rmse)} m{unit}\n{x.size:,} values"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=8)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel=f"reference {quantity} ({unit})", ylabel=f"predicted {quantity} ({unit})")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return figure


def error_histogram(differences: Mapping[str, np.ndarray], *, unit: str) -> Figure:
    """Distribution of the errors, one outline per name, on a logarithmic scale that shows the tails."""
    finite = {name: values[np.isfinite(values)].ravel() for name, values in differences.items()}
    everything = np.concatenate(list(finite.values()))
    reach = max(float(np.quantile(np.abs(everything), 0.999)), 1e-12)
    figure, axes = _blank(4.4, 3.2)
    edges = np.linspace(-reach, reach, 61)
    for name, values in finite.items():
        density, _ = np.histogram(values, bins=edges, density=True)
        axes.stairs(density, edges, label=f"{name} ({values.size:,})")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(yscale="log", xlabel=f"prediction − reference ({unit})", ylabel=f"density (1/({unit}))")
    _legend(axes, "best")
    return figure


def learning_curves(members: Sequence[Sequence[Mapping[str, float | int | None]]]) -> Figure:
    """Training and validation of every member of an ensemble against the epoch.

    Args:
        members: for each member its epochs, each with `epoch`, `train_loss`, `valid_loss` and `valid_*_mae` in eV and Å.
    """
    panels = [
        ("loss", {"train_loss": "training", "valid_loss": "validation"}, 1.0),
        ("energy MAE (meV/atom)", {"valid_energy_mae_per_atom": "validation"}, 1e3),
        ("force MAE (meV/Å)", {"valid_forces_mae": "validation"}, 1e3),
        ("stress MAE (meV/Å³)", {"valid_stress_mae": "validation"}, 1e3),
    ]
    shown = [panel for panel in panels if any(_curve(member, key)[0].size for member in members for key in panel[1])]
    figure = Figure(figsize=(3.3 * max(len(shown), 1), 2.9), layout="constrained")
    with mpl.rc_context(STYLE):
        for k, (name, keys, scale) in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), k + 1)
            _draw_curves(axes, members, keys, scale)
            axes.set(ylabel=name, xlabel="epoch", yscale="log")
            _plain_ticks(axes.yaxis)
    return figure


def spread_against_error(spread: Float[np.ndarray, " sample"], error: Float[np.ndarray, " sample"], *, unit: str) -> Figure:
    """True error against the spread of the ensemble, and the mean error in ten classes of equal size; calibrated: on the diagonal."""
    good = np.isfinite(spread) & np.isfinite(error) & (spread > 0) & (error > 0)
    x, y = spread[good], error[good]
    figure, axes = _blank(3.8, 3.4)
    low, high = float(np.quantile(np.minimum(x, y), 0.01)), float(max(x.max(), y.max()))
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, label="spread = error")
    _cloud(axes, x, y, log=True)
    order = np.array_split(np.argsort(x), 10) if x.size >= 50 else []
    if order:
        root_mean_square = [[float(np.sqrt((v[part] ** 2).mean())) for part in order] for v in (x, y)]
        axes.plot(*root_mean_square, "o-", color=COLORS[1], markersize=4, label="root mean square by class")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel=f"spread of the ensemble ({unit})", ylabel=f"true error ({unit})")
    _legend(axes, "upper left")
    return figure


def bars(values: Mapping[str, float], *, xlabel: str, ylabel: str) -> Figure:
    """One bar per name, such as the force error of each element, with its value above."""
    figure, axes = _blank(max(2.6, 0.55 * len(values) + 1.2), 2.9)
    drawn = axes.bar(list(values), list(values.values()), color=COLORS[0], width=0.6)
    axes.bar_label(drawn, fmt=_plain, fontsize=8, padding=2)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(y=0.12)
    return figure


def lines(series: Series, *, xlabel: str, ylabel: str, xlog: bool, ylog: bool) -> Figure:
    """Curves y(x), one per name; a single nameless curve has no legend."""
    figure, axes = _blank(4.8, 3.0)
    for name, (x, y) in series.items():
        axes.plot(np.asarray(x), np.asarray(y), label=name, linewidth=1.1 if len(x) > VECTOR_POINTS else 1.4, rasterized=len(x) > 20_000)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if xlog else "linear", yscale="log" if ylog else "linear")
    for axis in [*([axes.xaxis] if xlog else []), *([axes.yaxis] if ylog else [])]:
        _plain_ticks(axis)
    _legend(axes, "best")
    return figure


def points(series: Series, *, xlabel: str, ylabel: str) -> Figure:
    """Points (x, y), one colour per name, and the diagonal on which both agree."""
    figure, axes = _blank(3.8, 3.4)
    everything = np.concatenate([np.asarray(values, dtype=float) for pair in series.values() for values in pair])
    low, high = _span(everything)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, zorder=1)
    for name, (x, y) in series.items():
        axes.scatter(np.asarray(x), np.asarray(y), label=name, s=9, linewidths=0, alpha=0.6, zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel=xlabel, ylabel=ylabel)
    _legend(axes, "best")
    return figure


def histogram(samples: Mapping[str, Sequence[float] | np.ndarray], *, quantity: str, unit: str, bins: int) -> Figure:
    """Probability densities on common bins: the first name filled, the others as outlines."""
    arrays = {name: np.asarray(values, dtype=float).ravel() for name, values in samples.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins=bins)
    figure, axes = _blank(4.4, 3.0)
    for k, (name, values) in enumerate(arrays.items()):
        density, _ = np.histogram(values, bins=edges, density=True)
        first = k == 0
        axes.stairs(density, edges, label=name, fill=first, color="#b9c2cc" if first else COLORS[(k - 1) % len(COLORS)], linewidth=1.5)
    axes.set(xlabel=f"{quantity} ({unit})", ylabel=f"probability density per {unit}")
    _legend(axes, "best")
    return figure


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one empty pair of axes in the shared style (inches)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def _legend(axes: Axes, place: Literal["best", "upper left", "upper right"]) -> None:
    """Names of the curves, if they have any."""
    if any(axes.get_legend_handles_labels()[1]):
        with mpl.rc_context(STYLE):
            axes.legend(loc=place)


def _plain_ticks(axis: Axis) -> None:
    """A logarithmic axis with the numbers 1, 2, 5, 10, … in place of powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _cloud(axes: Axes, x: np.ndarray, y: np.ndarray, log: bool = False) -> None:
    """Points coloured by how many lie in the same neighbourhood, the densest on top."""
    u, v = (np.log(x), np.log(y)) if log else (x, y)
    count, first, second = np.histogram2d(u, v, bins=60)
    column = np.clip(np.searchsorted(first, u, side="right") - 1, 0, 59)
    row = np.clip(np.searchsorted(second, v, side="right") - 1, 0, 59)
    density = count[column, row]
    order = np.argsort(density, kind="stable")
    many = x.size > VECTOR_POINTS
    axes.scatter(
        x[order],
        y[order],
        c=np.log(density[order]),
        cmap="cividis",
        s=4 if many else 12,
        linewidths=0,
        alpha=0.9,
        rasterized=many,
        zorder=2,
    )


def _curve(member: Sequence[Mapping[str, float | int | None]], key: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(epoch["epoch"], value) for epoch in member if (value := epoch.get(key)) is not None and np.isfinite(value) and value > 0]
    both = np.array(points, dtype=float).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _draw_curves(axes: Axes, members: Sequence[Sequence[Mapping[str, float | int | None]]], keys: Mapping[str, str], scale: float) -> None:
    for k, (key, name) in enumerate(keys.items()):
        for m, member in enumerate(members):
            epoch, value = _curve(member, key)
            color = COLORS[k] if len(keys) > 1 else COLORS[1]
            axes.plot(epoch, scale * value, color=color, linewidth=1.1, alpha=0.75, label=name if m == 0 else None)
    _legend(axes, "upper right")
