"""What a report says of a trajectory's observables, beside those of the reference engine."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nnpx.report import Cell, Table, with_error

#: what begins the keys of the potential, and of the reference engine
_WHOSE: Final = ("", "reference_")
#: name, keys of value and standard error, unit
_ROWS: Final = (
    ("temperature", "temperature_K", "temperature_error_K", "K"),
    ("pressure", "pressure_GPa", "pressure_error_GPa", "GPa"),
    ("volume", "volume_A3", "volume_error_A3", "Å³"),
    ("drift of what is conserved", "drift_meV_per_atom_per_ps", "drift_error_meV_per_atom_per_ps", "meV/atom/ps"),
    ("p of canonical kinetic energies", "canonical_p_value", "", ""),
    ("decorrelated samples for p", "canonical_samples", "", ""),
    ("highest peak of vibrations", "vibration_peak_per_cm", "vibration_peak_error_per_cm", "cm⁻¹"),
    ("∫ |h(r) − h_ref(r)| dr, 0 … 2", "distance_distribution_mae", "", ""),
)


def distribution_table(name: str, found: Mapping[str, Any]) -> Table:
    """Bonds and angles: the mean with its standard error, and apart from it the width of the distribution, which no longer run narrows."""
    rows: list[Sequence[Cell]] = [
        (
            f"{kind} ({one['unit']})",
            with_error(one["mean"], one.get("mean_error")),
            f"{one['spread']:.2g}",
            with_error(one["reference_mean"], one.get("reference_mean_error")),
            f"{one['reference_spread']:.2g}",
            one["overlap"],
        )
        for kind, one in found.items()
        if one.get("reference_mean") is not None
    ]
    said = f"{name}: bonds and angles, mean ± standard error, and σ, the width of the distribution"
    return Table(said, ("", "potential", "σ", "reference", "σ", "overlap"), rows)


def observable_table(name: str, run: Mapping[str, Any]) -> Table:
    """What was measured, with standard errors where there are; diffusion by element."""
    quantities = [(label, [(run, f"{whose}{value}", f"{whose}{error}") for whose in _WHOSE], unit) for label, value, error, unit in _ROWS]
    for symbol in run.get("diffusion", {}):
        sides = [(run.get(f"{whose}diffusion", {}).get(symbol, {}), "value", "error") for whose in _WHOSE]
        quantities.append((f"diffusion of {symbol}", sides, "Å²/ps"))
    rows: list[Sequence[Cell]] = [
        (label, *(with_error(numbers.get(value), numbers.get(error)) for numbers, value, error in sides), unit)
        for label, sides, unit in quantities
    ]
    return Table(f"{name}: observables ± standard errors", ("", "potential", "reference", "unit"), [row for row in rows if row[1]])
