"""The numbers that an evaluation ends in: errors by quantity, element and group, and whether the spread knows them.

MAE = ⟨|Δ|⟩, RMSE = √⟨Δ²⟩, max = max|Δ| with Δ = prediction − label. Labels that are NaN are skipped.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Float
from scipy.stats import spearmanr

from nnpx.evaluation import Comparison
from nnpx.uncertainty.quality import auroc_between, quality

#: units of the metrics
UNITS: Final = {
    "energy_per_atom": "eV/atom",
    "energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
}

Metrics = dict[str, Any]


def measured(parts: Mapping[str, Comparison]) -> dict[str, Metrics]:
    """`metrics` of every part of the data; of the test set also how well it is told from the validation set."""
    found = {part: metrics(one) for part, one in parts.items()}
    if {"test", "valid"} <= set(parts) and (apart := _told_apart(parts["test"], parts["valid"])):
        found["test"]["told_apart"] = apart
    return found


def metrics(comparison: Comparison) -> Metrics:
    """All errors as nested numbers in eV and Å; a quantity without labels is left out, since JSON knows no NaN."""
    result = _errors(comparison, np.ones(len(comparison.groups), dtype=bool))
    result["forces_by_element"] = {
        chemical_symbols[z]: found
        for z in np.unique(comparison.numbers)
        if (found := statistics((comparison.forces - comparison.forces_label)[comparison.numbers == z]))
    }
    names = sorted(set(comparison.groups) - {""})
    result["by_group"] = {name: _errors(comparison, np.array([group == name for group in comparison.groups])) for name in names}
    result["uncertainty"] = _uncertainty(comparison)
    return {key: value for key, value in result.items() if value}


def statistics(differences: Float[np.ndarray, "..."]) -> dict[str, float | int]:
    """MAE, RMSE, maximum and count of the differences that exist; empty where none does."""
    finite = differences[~np.isnan(differences)]
    if finite.size == 0:
        return {}
    size = np.abs(finite)
    return {"mae": float(size.mean()), "rmse": float(np.sqrt((finite**2).mean())), "max": float(size.max()), "count": int(finite.size)}


def _errors(comparison: Comparison, chosen: Bool[np.ndarray, " structure"]) -> Metrics:
    """Errors of the chosen structures by quantity."""
    atoms = chosen[comparison.owner]
    energy = (comparison.energy - comparison.energy_label)[chosen]
    stress = (comparison.stress - comparison.stress_label)[chosen]
    upper = np.triu_indices(3)  # six independent components
    found: Metrics = {
        "structures": int(chosen.sum()),
        "atoms": int(atoms.sum()),
        "energy_per_atom": statistics(energy / comparison.n_atoms[chosen]),
        "energy": statistics(energy),
        "forces": statistics((comparison.forces - comparison.forces_label)[atoms]),
        "stress": statistics(stress[:, upper[0], upper[1]]),
    }
    excess = comparison.novelty.get("extrapolation")
    share = {} if excess is None else {"extrapolating_atoms": float((excess[atoms] > 0).mean())}
    return {**{key: value for key, value in found.items() if value}, **share}


def _told_apart(comparison: Comparison, familiar: Comparison) -> dict[str, dict[str, float]]:
    """By what tells and by group: the probability that a frame is stranger than a familiar one; 1/2 if nothing is noticed."""
    members = {name: np.array([group == name for group in comparison.groups]) for name in sorted(set(comparison.groups))}
    inside, outside = familiar.strangeness(), comparison.strangeness()
    return {
        kind: {name or "all": auroc_between(inside[kind], outside[kind][chosen]) for name, chosen in members.items()}
        for kind in inside
        if kind in outside
    }


def _uncertainty(comparison: Comparison) -> dict[str, dict[str, float | int]]:
    """Quality of spread and noise together as a standard deviation, and the size of both (root mean square), by quantity."""
    found = {}
    for name, one in comparison.deviations().items():
        sizes = {"epistemic": _root_mean_square(one.spread), "aleatoric": _root_mean_square(one.noise)}
        if judged := quality(one.error, one.total):
            found[name] = {**judged, **{kind: size for kind, size in sizes.items() if size is not None}}
    spread, error = comparison.force_spreads(), comparison.force_errors()
    if "forces" in found and np.ptp(spread) > 0 and np.ptp(error) > 0:
        found["forces"]["spearman_by_atom"] = float(spearmanr(spread, error, nan_policy="omit").statistic)
    return found


def _root_mean_square(values: Float[np.ndarray, "*sample"]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.sqrt((finite**2).mean())) if finite.size else None
