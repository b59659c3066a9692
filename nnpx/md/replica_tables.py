"""What a report says about many replicas: stability, averages and alarms, by temperature."""

from collections.abc import Mapping, Sequence
from typing import Any

from nnpx.report import Cell, Table, text, with_error


def replica_tables(name: str, run: Mapping[str, Any]) -> list[Table]:
    """How many replicas were stopped, what stability time follows, averages over the others, and of every kind of alarm the first.

    Args:
        name: of the run.
        run: its metrics.
    """
    levels: Mapping[str, Any] = run["by_temperature"]
    said = f"{name}: stability; {text(run['ns_per_day'])} ns/day of all together, {text(run['wall_s'])} s"
    columns = ("T", "replicas", "stopped", "stability time (ps)", "at least, with 95 %")
    survival = Table(said, columns, [(level, *_survival(one)) for level, one in levels.items()])
    return [survival, *_averages(name, levels), *_alarms(name, [alarm for one in levels.values() for alarm in one["alarms"].values()])]


def _survival(one: Mapping[str, Any]) -> tuple[Cell, ...]:
    time, error = one["stability_time_ps"], one["stability_time_error_ps"]
    return one["replicas"], one["stopped"], None if time is None else f"{time:.3g} ± {error:.2g}", one["stability_time_at_least_ps"]


def _averages(name: str, levels: Mapping[str, Any]) -> list[Table]:
    """In baths with the canonical test, without with the drift of the energy."""
    known = {level: one for level, one in levels.items() if "temperature_K" in one}
    rows: list[Sequence[Cell]] = []
    for level, one in known.items():
        mean = with_error(one["temperature_K"], one["temperature_error_K"])
        ensemble = (one["canonical_p_value"],) if "canonical_p_value" in one else (*_drifts(one), one["sigma_total_meV_per_atom"])
        rows.append((level, one["replicas"] - one["stopped"], mean, one["spread_meV_per_atom"], *ensemble))
    in_baths = any("canonical_p_value" in one for one in known.values())
    columns = ("T", "replicas", "mean T (K)", "spread", *(("p (canonical)",) if in_baths else ("drift", "largest", "σ(E)")))
    units = "spread in meV/atom" if in_baths else "spread and σ of the total energy in meV/atom, drifts in meV/atom/ps"
    return [Table(f"{name}: averages over those that were not stopped; {units}", columns, rows)] if rows else []


def _drifts(one: Mapping[str, Any]) -> tuple[Cell, Cell]:
    """The mean, and that of the replica that drifts most."""
    mean, largest = (
        with_error(one[f"{which}drift_meV_per_atom_per_ps"], one[f"{which}drift_error_meV_per_atom_per_ps"]) for which in ("", "largest_")
    )
    return mean, largest


def _alarms(name: str, alarms: list[Mapping[str, Any]]) -> list[Table]:
    """What the watchdog said."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for alarm in sorted(alarms, key=lambda alarm: float(alarm["time_ps"])):
        kinds.setdefault(alarm["alarm"].partition(": expected ")[2].partition(", found ")[0], []).append(alarm)
    first = [(len(alike), alike[0]["time_ps"], alike[0]["alarm"].partition(". Add structures")[0]) for alike in kinds.values()]
    return [Table(f"{name}: alarms, the first of every kind", ("replicas", "time (ps)", "why"), first)] if first else []
