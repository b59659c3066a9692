"""Pictures of many replicas: how many are within bounds, and how warm they are, one curve per temperature."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from typing import Final

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnpx.figures import COLORS, INK, STYLE
from nnpx.md.replica_course import ReplicaCourse, over_replicas
from nnpx.md.stability import Stability, stability
from nnpx.md.stability import survival as kaplan_meier

#: a course is drawn as the means of so many stretches of time
_STRETCHES: Final = 200


def survival(fates: Mapping[str, tuple[Float[np.ndarray, " replica"], Bool[np.ndarray, " replica"]]]) -> Figure:
    """The share of replicas within bounds against time, over the exponential of the stability time.

    Args:
        fates: how long every replica was followed, ps, and whether it was stopped then, by what the temperature is called.
    """
    with _panel("replicas within bounds (%)", len(fates)) as (figure, panel):
        for (level, (time_ps, stopped)), color in zip(fates.items(), cycle(COLORS)):
            estimate = stability(time_ps, stopped)
            times, shares = kaplan_meier(time_ps, stopped)
            panel.step(times, 100.0 * shares, where="post", color=color, linewidth=1.2, label=f"{level}: {_in_words(estimate)}")
            if estimate.stopped:
                grid = np.linspace(0.0, times[-1], 200)
                panel.plot(grid, 100.0 * np.exp(-grid / estimate.time_ps), color=color, linewidth=1.0, linestyle="--")
        panel.set_ylim(-3.0, 103.0)
    return figure


def temperature(courses: Mapping[str, ReplicaCourse], targets_K: Mapping[str, float]) -> Figure:
    """Temperature against time: mean over replicas, with a standard error to either side as a band.

    Args:
        courses: of the replicas that count, by what their temperature is called.
        targets_K: of the baths, by the same; none without baths.
    """
    with _panel("temperature (K)", len(courses)) as (figure, panel):
        for (level, course), color in zip(courses.items(), cycle(COLORS)):
            count = min(_STRETCHES, len(course.time_ps))
            time = [stretch.mean() for stretch in np.array_split(course.time_ps, count)]
            found = [over_replicas(stretch.mean(0)) for stretch in np.array_split(course.temperature_K, count)]
            value, error = np.array([one.value for one in found]), np.array([one.error for one in found])
            panel.fill_between(time, value - error, value + error, color=color, alpha=0.35, linewidth=0.0)
            panel.plot(time, value, color=color, linewidth=1.0, label=f"{level}: {course.kinetic.shape[1]} replicas")
            if level in targets_K:
                panel.axhline(targets_K[level], color=INK, linewidth=1.0, linestyle="--")
    return figure


def _in_words(estimate: Stability) -> str:
    known = f"τ = {estimate.time_ps:.3g} ± {estimate.error_ps:.2g} ps (dashed)" if estimate.stopped else "no alarm"
    return f"{estimate.stopped} of {estimate.replicas} stopped; {known}; τ > {estimate.at_least_ps:.3g} ps with 95 %"


@contextmanager
def _panel(ylabel: str, curves: int) -> Iterator[tuple[Figure, Axes]]:
    """A panel to draw on against time, with a legend above it: a line for every curve."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 2.3 + 0.2 * curves), layout="constrained")
        panel = figure.add_subplot()
        panel.set_xlabel("time (ps)")
        panel.set_ylabel(ylabel)
        yield figure, panel
        figure.legend(loc="outside upper left")
