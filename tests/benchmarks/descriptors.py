"""Error against cost of all descriptors: the times and the figure of docs/descriptors.md.

python descriptors.py time [--rounds 4]  energy and forces of 64 ethanols with every option in turn, neighbours known, float32: the
                                         least of the rounds, µs/atom, and how far all lie from it, %
python descriptors.py draw               docs/descriptors.svg from the table in docs/descriptors.md
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from speed import displaced, potential_for

from nnpx.ensemble import Ensemble
from nnpx.figures import COLORS, INK, STYLE, svg
from nnpx.outcome import TIMED_STRUCTURES, microseconds_per_atom

PAGE: Final = Path(__file__).parents[2] / "docs" / "descriptors.md"
BESSEL: Final = ["radial=bessel", "radial.n_functions=8"]
AS_THEY_ARE: Final = [*BESSEL, "radial.smoothness=0"]
#: what is chosen besides the descriptor, as in the table
OPTIONS: Final[Mapping[str, list[str]]] = {
    **dict.fromkeys(("moments_messages", "moments_medium", "ace", "moments", "moments_large", "soap", "gaussian_moments", "nep"), BESSEL),
    **dict.fromkeys(("acsf", "acsf_narrow", "acsf_wide", "acsf_moments", "aev", "aev_2x"), AS_THEY_ARE),
    "acsf_set51": ["radial=set51"],
    "wacsf": ["radial=wacsf", "species_embedding=atomic_number"],
}
#: where the names of those go whose predictions take about as long, in points from theirs
BESIDE: Final[dict[str, tuple[int, int, str]]] = {
    "aev": (-5, -6, "right"),
    "aev_2x": (-5, 3, "right"),
    "acsf_wide": (0, 18, "left"),
    "moments_medium": (2, -9, "left"),
    "gaussian_moments": (-4, 3, "right"),
}
COLUMNS: Final = {"energy (meV/atom)": 2, "forces (meV/Å)": 3, "prediction (µs/atom)": 4, "training (s)": 5}


def measure(rounds: int) -> dict[str, list[float]]:
    """µs/atom of every option in every round."""
    structures = displaced("ethanol", TIMED_STRUCTURES)
    made = {name: potential_for(structures, [f"descriptor={name}", *overrides]) for name, overrides in OPTIONS.items()}
    found: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, (potential, graph) in made.items():
            found[name].append(microseconds_per_atom(Ensemble([potential.eval()]), graph.cast(torch.float32)))
    return found


def rows(page: str) -> dict[str, list[tuple[float, float]]]:
    """Means and standard deviations of the columns of the table, by descriptor; NaN where there are none."""
    found = {}
    for line in re.findall(r"^\| \w+ \| 3 \|.*$", page, re.MULTILINE):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[0]] = [_estimate(cells[place]) for place in COLUMNS.values()]
    return found


def _estimate(cell: str) -> tuple[float, float]:
    """A mean and its deviation, which may be left out; NaN where there is none."""
    mean, *deviation = [float(part) for part in cell.replace("–", "nan").split("±")]
    return mean, *(deviation or [0.0])


def draw(table: Mapping[str, list[tuple[float, float]]]) -> Figure:
    """The error of the forces against the time of a prediction and of a training."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 4.4), layout="constrained")
        for k, cost in enumerate(("prediction (µs/atom)", "training (s)")):
            _panel(figure.add_subplot(1, 2, k + 1), table, list(COLUMNS).index(cost), cost)
    return figure


def _panel(axes: Axes, table: Mapping[str, list[tuple[float, float]]], place: int, cost: str) -> None:
    table = {name: own for name, own in table.items() if np.isfinite(own[place][0])}
    x, y = (np.array([own[column] for own in table.values()]) for column in (place, 1))
    axes.errorbar(x[:, 0], y[:, 0], xerr=x[:, 1], yerr=y[:, 1], fmt="o", color=COLORS[0], markersize=4)
    order = np.lexsort((y[:, 0], x[:, 0]))
    best = [order[k] for k in range(len(order)) if y[order[k], 0] < y[order[:k], 0].min(initial=np.inf)]
    axes.step(x[best, 0], y[best, 0], where="post", color=INK, linewidth=0.9, zorder=1)
    axes.set(xscale="log", yscale="log", xlabel=cost, ylabel="error of the forces (meV/Å)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(right=1.9 * x[:, 0].max())  # names need room
    for name, across, up in zip(table, x[:, 0], y[:, 0], strict=True):
        right, above, side = BESIDE.get(name, (5, 2, "left")) if cost.startswith("prediction") else (5, 2, "left")
        axes.annotate(name, (across, up), xytext=(right, above), textcoords="offset points", ha=side, fontsize=7, color=INK)


def main() -> None:
    """Measure or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "draw"])
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    if asked.what == "draw":
        caption = "Errors of the forces on the validation set against cost; bars are standard deviations over seeds, the line is the front."
        PAGE.with_suffix(".svg").write_text(svg(draw(rows(PAGE.read_text(encoding="utf-8"))), caption=caption), encoding="utf-8")
        return
    for name, found in measure(asked.rounds).items():
        print(f"{name:18s} {min(found):7.1f}   {', '.join(f'{100 * (one / min(found) - 1):.0f}' for one in sorted(found))}", flush=True)
    print(f"{torch.get_num_threads()} thread(s)")


if __name__ == "__main__":
    main()
