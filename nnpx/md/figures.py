"""Pictures of a trajectory: energies and their drift, temperature and spread, distributions of bonds and angles."""

import math
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from nnpx import units
from nnpx.figures import COLORS, INK, STYLE
from nnpx.md.angles import AngularDistribution
from nnpx.md.canonical import canonical_density, canonical_test
from nnpx.md.observables import Distribution, conservation
from nnpx.md.pairs import Displacement, RadialDistribution
from nnpx.md.trajectory import Trajectory
from nnpx.md.vibrations import PER_CM, Spectrum
from nnpx.report import with_error

_POTENTIAL, _REFERENCE = COLORS[:2]
#: bins of the histogram of the temperature
_BINS = 40
#: abscissa, ordinate and its standard error
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def energy(trajectory: Trajectory, reference: Trajectory | None = None) -> Figure:
    """Potential and total energy against time, and on its own scale what is conserved with the fitted drift, over that of the reference."""
    figure, (above, below) = _panels(2, "time (ps)")
    per_atom = 1.0 / len(trajectory.start) / units.meV
    time = trajectory.time_ps
    with mpl.rc_context(STYLE):
        above.plot(time, (trajectory.potential - trajectory.total[0]) * per_atom, color=_REFERENCE, linewidth=0.8, label="potential")
        above.plot(time, (trajectory.total - trajectory.total[0]) * per_atom, color=_POTENTIAL, linewidth=0.8, label="total")
        above.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        above.set_ylabel("energy (meV/atom)")
        total = trajectory.conserved * per_atom
        drift = conservation(trajectory).drift
        if reference is not None:
            other = reference.conserved * per_atom
            below.plot(reference.time_ps, other - other.mean(), color=_REFERENCE, linewidth=0.8, alpha=0.6, label="reference")
            below.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))
        below.plot(time, total - total.mean(), color=_POTENTIAL, linewidth=0.8)
        below.plot(time, drift.value * (time - time.mean()), color=INK, linewidth=1.0, linestyle="--")
        below.set_ylabel("E − ⟨E⟩ (meV/atom)")
        below.set_title(f"drift {drift.value:.2g} ± {drift.error:.1g} meV/atom/ps (dashed)", loc="left")
    return figure


def temperature(trajectory: Trajectory, target_K: float, reference: Trajectory | None = None) -> Figure:
    """Temperature against time, over that of the reference, and the ensemble's spread of the energy where there is an ensemble."""
    has_spread = bool(np.isfinite(trajectory.energy_std).any())
    figure, panels = _panels(2 if has_spread else 1, "time (ps)")
    with mpl.rc_context(STYLE):
        if reference is not None:
            panels[0].plot(reference.time_ps, reference.temperature_K, color=_REFERENCE, linewidth=0.8, alpha=0.6, label="reference")
        panels[0].plot(trajectory.time_ps, trajectory.temperature_K, color=_POTENTIAL, linewidth=0.8, label="potential")
        panels[0].axhline(target_K, color=INK, linewidth=1.0, linestyle="--")
        panels[0].set_ylabel("temperature (K)")
        panels[0].set_title(f"{target_K:g} K (dashed)", loc="left")
        if reference is not None:
            panels[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
        if has_spread:
            spread = trajectory.energy_std / len(trajectory.start) / units.meV
            panels[1].plot(trajectory.time_ps, spread, color=_POTENTIAL, linewidth=0.8)
            panels[1].set_ylabel("spread of V (meV/atom)")
            panels[1].set_ylim(bottom=0.0)
    return figure


def canonical(trajectory: Trajectory, target_K: float, reference: Trajectory | None = None) -> Figure:
    """Histogram of the temperature, over that of the reference, and the density that the canonical ensemble has for as many atoms."""
    figure, (panel,) = _panels(1, "temperature (K)")
    sides = {"reference": reference, "potential": trajectory}
    sampled = {label: one.temperature_K for label, one in sides.items() if one is not None}
    every = np.concatenate([*sampled.values()])
    edges = np.linspace(every.min(), every.max() + 1e-9, _BINS + 1)
    with mpl.rc_context(STYLE):
        for label, values in sampled.items():
            color = _POTENTIAL if label == "potential" else _REFERENCE
            panel.stairs(np.histogram(values, edges, density=True)[0], edges, fill=True, color=color, alpha=0.35, label=label)
        grid = np.linspace(edges[0], edges[-1], 200)
        panel.plot(grid, canonical_density(grid, target_K, trajectory.degrees_of_freedom), color=INK, label="canonical", linestyle="--")
        found = canonical_test(trajectory, target_K)
        known = f"p = {found.p_value:.2g} of" if np.isfinite(found.p_value) else "no p of"
        panel.set_title(f"{known} {found.samples} decorrelated samples", loc="left")
        panel.set_ylabel("density (1/K)")
        panel.legend()
    return figure


def cell(trajectory: Trajectory) -> Figure:
    """Pressure and volume against time."""
    figure, (above, below) = _panels(2, "time (ps)")
    with mpl.rc_context(STYLE):
        above.plot(trajectory.time_ps, trajectory.pressure / units.GPa, color=_POTENTIAL, linewidth=0.8)
        above.set_ylabel("pressure (GPa)")
        below.plot(trajectory.time_ps, np.linalg.det(trajectory.cell), color=_POTENTIAL, linewidth=0.8)
        below.set_ylabel("volume (Å³)")
    return figure


def vibrations(found: Spectrum, reference: Spectrum | None) -> Figure:
    """The density of states with its error as a band, over that of the reference; wave numbers below, THz above."""
    figure, (panel,) = _panels(1, "wave number (cm⁻¹)")
    with mpl.rc_context(STYLE):
        if reference is not None:
            panel.fill_between(
                reference.frequency_per_cm, reference.density, color=_REFERENCE, alpha=0.35, linewidth=0.0, label="reference"
            )
        wave, low, high = found.frequency_per_cm, found.density - found.error, found.density + found.error
        panel.fill_between(wave, low, high, color=_POTENTIAL, alpha=0.35, linewidth=0.0)
        panel.plot(wave, found.density, color=_POTENTIAL, linewidth=1.0, label="potential")
        panel.set_xlim(0.0, wave[-1])
        panel.set_ylabel("density of states (1/THz)")
        panel.legend()
        above = panel.secondary_xaxis("top", functions=(_in_terahertz, _per_cm))
        above.set_xlabel("frequency (THz)")
    return figure


def distributions(found: list[Distribution]) -> Figure:
    """Every bond length and angle as a histogram with its standard error as a band, over that of the reference."""
    columns = min(3, max(1, len(found)))
    rows = max(1, math.ceil(len(found) / columns))
    figure = Figure(figsize=(2.7 * columns, 2.0 * rows + 0.4), layout="constrained")
    with mpl.rc_context(STYLE):
        panels = [figure.add_subplot(rows, columns, k + 1) for k in range(len(found))]
        for panel, one in zip(panels, found, strict=True):
            if np.isfinite(one.reference).all():
                _steps(panel, one.edges, one.reference, one.reference_error, color=_REFERENCE, label="reference")
            _steps(panel, one.edges, one.density, one.density_error, color=_POTENTIAL, label="potential")
            panel.set(xlabel=f"{one.kind} ({one.unit})", ylabel=f"density (1/{one.unit})")
        if panels:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def distances(found: list[RadialDistribution], reference: list[RadialDistribution]) -> Figure:
    """Every pair of elements: g(r) or h(r) with its error as a band, over that of the reference."""
    ours, theirs = ({f"{one.pair} (Å)": (one.distance, one.value, one.error) for one in side} for side in (found, reference))
    return _bands(ours, theirs, ylabel="g(r)" if found[0].is_periodic else "h(r) (1/Å)")


def angles(found: list[AngularDistribution], reference: list[AngularDistribution]) -> Figure:
    """Every triple of elements: the density of its angles with its error as a band, over that of the reference."""
    ours, theirs = ({f"{one.triple} (°)": (one.angle, one.value, one.error) for one in side} for side in (found, reference))
    return _bands(ours, theirs, ylabel="density (1/°)")


def displacements(found: list[Displacement], reference: list[Displacement]) -> Figure:
    """Every element: the mean squared displacement with its error as a band and the line of its diffusion, over that of the reference."""
    ours, theirs = ({f"lag of {one.symbol} (ps)": (one.lag_ps, one.square, one.error) for one in side} for side in (found, reference))
    figure = _bands(ours, theirs, ylabel="⟨Δr²⟩ (Å²)")
    for panel, one in zip(figure.axes, found, strict=True):
        panel.plot(one.lag_ps, one.offset + one.line.value * one.lag_ps, color=INK, linewidth=1.0, linestyle="--")
        panel.set_title(f"{with_error(one.line.value / 6.0, one.line.error / 6.0)} Å²/ps", loc="left")
    return figure


def _bands(found: Mapping[str, Curve], reference: Mapping[str, Curve], *, ylabel: str) -> Figure:
    """Curves by the label of their abscissa, each within a band of one standard error, over that of the reference."""
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(2.7 * columns, 2.0 * rows + 0.4), layout="constrained")
    with mpl.rc_context(STYLE):
        for k, (label, (at, value, error)) in enumerate(found.items()):
            panel = figure.add_subplot(rows, columns, k + 1)
            if label in reference:
                panel.fill_between(*reference[label][:2], color=_REFERENCE, alpha=0.35, linewidth=0.0, label="reference")
            panel.fill_between(at, value - error, value + error, color=_POTENTIAL, alpha=0.35, linewidth=0.0)
            panel.plot(at, value, color=_POTENTIAL, linewidth=1.0, label="potential")
            panel.set(xlabel=label, ylabel=ylabel)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _steps(panel: Axes, edges: np.ndarray, density: np.ndarray, error: np.ndarray, *, color: str, label: str) -> None:
    """A histogram within a band of one standard error, where that is known."""
    if np.isfinite(error).all():
        low, high = np.maximum(density - error, 0.0), density + error
        panel.stairs(high, edges, baseline=low, fill=True, color=color, alpha=0.35, linewidth=0.0)
    panel.stairs(density, edges, color=color, linewidth=1.2, label=label)


def _in_terahertz(wave: ArrayLike) -> ArrayLike:
    return np.asarray(wave, dtype=float) / PER_CM


def _per_cm(frequency: ArrayLike) -> ArrayLike:
    return np.asarray(frequency, dtype=float) * PER_CM


def _panels(count: int, xlabel: str) -> tuple[Figure, list[Axes]]:
    """Panels above one another that share the abscissa."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 2.0 * count + 0.5), layout="constrained")
        first = figure.add_subplot(count, 1, 1)
        panels = [first, *(figure.add_subplot(count, 1, k + 1, sharex=first) for k in range(1, count))]
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    panels[-1].set_xlabel(xlabel)
    return figure, panels
