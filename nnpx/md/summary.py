"""The numbers of a trajectory of the potential, and of that of the reference engine where there is one."""

from typing import Any

import numpy as np

from nnpx import units
from nnpx.md import Dynamics
from nnpx.md.canonical import canonical_test
from nnpx.md.observables import Distribution, conservation, distance_distribution_error, distributions, mean
from nnpx.md.pairs import diffusion
from nnpx.md.trajectory import Trajectory
from nnpx.md.vibrations import spectrum

#: numbers by name, by element or by bond; None where there was nothing to measure
Metrics = dict[str, Any]


def summary(dynamics: Dynamics, trajectory: Trajectory, reference: Trajectory | None) -> Metrics:
    """What both trajectories say, that of the reference engine under `reference_…`, and how they differ."""
    found = _observables(dynamics, trajectory) | {
        "spread_meV_per_atom": float(trajectory.energy_std.mean()) / len(trajectory.start) / units.meV,
        "steps": trajectory.steps,
        "ns_per_day": trajectory.ns_per_day,
    }
    if reference is not None:
        found |= {f"reference_{key}": value for key, value in _observables(dynamics, reference).items() if key != "conserved"}
        found["distributions"] = _comparison(distributions(trajectory, reference, dynamics.bond_factor))
        if len(trajectory.start) > 1 and not trajectory.start.pbc.any():
            found["distance_distribution_mae"] = distance_distribution_error(trajectory, reference)
    return _without_nan(found)


def _observables(dynamics: Dynamics, one: Trajectory) -> Metrics:
    """What can be measured in one trajectory."""
    temperature = mean(one.temperature_K)
    found: Metrics = {"temperature_K": temperature.value, "temperature_error_K": temperature.error, "wall_s": one.wall_s}
    if dynamics.conserved:
        energy = conservation(one)
        found |= {
            "conserved": dynamics.conserved,
            "drift_meV_per_atom_per_ps": energy.drift.value,
            "drift_error_meV_per_atom_per_ps": energy.drift.error,
            "sigma_total_meV_per_atom": energy.fluctuation,
        }
    if dynamics.has_bath:
        canonical = canonical_test(one, dynamics.temperature_K)
        found |= {"canonical_p_value": canonical.p_value, "canonical_samples": canonical.samples}
    if dynamics.moves_cell:
        of_cell = {"pressure": (one.pressure / units.GPa, "GPa"), "volume": (np.linalg.det(one.cell), "A3")}
        for quantity, (series, unit) in of_cell.items():
            estimate = mean(series)
            found |= {f"{quantity}_{unit}": estimate.value, f"{quantity}_error_{unit}": estimate.error}
    if one.start.pbc.all():
        found["diffusion"] = {symbol: {"unit": "Å²/ps", **vars(estimate)} for symbol, estimate in diffusion(one).items()}
    vibrations = spectrum(one)
    if vibrations is not None:
        found |= {"vibration_peak_per_cm": vibrations.peak_per_cm.value, "vibration_peak_error_per_cm": vibrations.peak_per_cm.error}
    return found


def _comparison(found: list[Distribution]) -> Metrics:
    """The numbers of every distribution, by elements."""
    return {
        one.kind: {
            "unit": one.unit,
            "mean": one.mean.value,
            "mean_error": one.mean.error,
            "reference_mean": one.reference_mean.value,
            "reference_mean_error": one.reference_mean.error,
            "spread": one.spread,
            "reference_spread": one.reference_spread,
            "distance": one.distance,
            "noise": one.noise,
            "overlap": one.overlap,
        }
        for one in found
    }


def _without_nan(metrics: Metrics) -> Metrics:
    """NaN is no JSON."""
    return {
        key: _without_nan(value) if isinstance(value, dict) else None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in metrics.items()
    }
