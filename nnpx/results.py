"""What a report says about a trained potential: key facts, error tables, pictures with captions, wall times."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from nnpx import figures, reliability
from nnpx.evaluation import Comparison
from nnpx.extrapolation import Extrapolation
from nnpx.md.replica_tables import replica_tables
from nnpx.md.tables import distribution_table, observable_table
from nnpx.metrics import Metrics
from nnpx.report import Cell, Picture, Section, Table, picture, text, with_error
from nnpx.tracking.records import leaves

#: the figures of an evaluation in the order of a report
ORDER: Final = (
    "learning_curves",
    "parity_energy",
    "parity_forces",
    "parity_stress",
    "force_errors",
    "force_errors_by_element",
    "spread_against_error",
    "reliability",
    "sparsification",
)
#: what errors and uncertainties are then
NO_TEST_SET: Final = (
    "There is no test set. These are errors of the validation set, by which the potential was chosen and its spread calibrated, if it is: "
    "both look better than they are."
)
#: name, key in the metrics, unit of a thousandth of the metric
QUANTITIES: Final = (
    ("energy per atom", "energy_per_atom", "meV/atom"),
    ("energy", "energy", "meV"),
    ("forces", "forces", "meV/Å"),
    ("stress", "stress", "meV/Å³"),
)


def facts(header: Mapping[str, Any]) -> Table:
    """What was trained on what: one line each."""
    card, config = header.get("card", {}), header.get("config", {})
    counts = card.get("counts", {})
    commit = header.get("provenance", {}).get("git_commit", "none")
    changed = " with uncommitted changes" if header.get("provenance", {}).get("git_dirty") == "yes" else ""
    members, parameters = header.get("n_members", 1), header.get("n_parameters", 0)
    rows: list[tuple[str, Cell]] = [
        ("data", _target(config, "data")),
        ("level of theory", _words(card.get("level_of_theory", ""))),
        ("elements", ", ".join(chemical_symbols[z] for z in header.get("numbers", []))),
        ("structures", ", ".join(f"{counts[part]:,} {part}" for part in ("train", "valid", "test") if part in counts)),
        ("descriptor", _descriptor(header)),
        ("network", _target(config, "network")),
        ("parameters", f"{parameters:,}" + (f" in each of {members} members" if members > 1 else "")),
        ("git commit", commit if commit == "none" else commit[:12] + changed),
    ]
    return Table("", ("", ""), [row for row in rows if row[1]])


def error_table(parts: Mapping[str, Metrics]) -> Table:
    """Errors of every quantity on every part of the data, in meV."""
    rows: list[Sequence[Cell]] = []
    for part, found in parts.items():
        for name, key, unit in QUANTITIES:
            if one := found.get(key):
                rows.append((part, name, *(1e3 * one[kind] for kind in ("mae", "rmse", "max")), unit, one["count"]))
    return Table("Errors", ("data", "quantity", "MAE", "RMSE", "maximum", "unit", "labels"), rows)


def element_table(found: Metrics) -> Table:
    """Force errors by element, in meV/Å."""
    rows = [
        (element, *(1e3 * one[kind] for kind in ("mae", "rmse", "max")), one["count"] // 3)
        for element, one in found.get("forces_by_element", {}).items()
    ]
    return Table("Forces by element (meV/Å)", ("element", "MAE", "RMSE", "maximum", "atoms"), rows)


def group_table(found: Metrics) -> Table:
    """Mean absolute errors by group, in meV/atom and meV/Å."""
    rows = [
        (name, _milli(one.get("energy_per_atom")), _milli(one.get("forces")), one.get("extrapolating_atoms"), one["structures"])
        for name, one in found.get("by_group", {}).items()
    ]
    return Table("MAE by group", ("group", "energy (meV/atom)", "forces (meV/Å)", "atoms off known ground", "structures"), rows)


def detail_tables(found: Metrics) -> list[Table]:
    """Errors by element and group, and the quality of the spread, as far as they exist."""
    return [*(table for table in (element_table(found), group_table(found)) if table.rows), *reliability.tables(found)]


def range_table(foreign: Sequence[Extrapolation]) -> Table:
    """The features that lie farthest outside what they were in training."""
    rows = [(one.structure, one.atom, one.element, one.feature, one.value, f"{one.low:.4g} to {one.high:.4g}") for one in foreign]
    return Table("Farthest off known ground", ("structure", "atom", "element", "feature", "value", "in training"), rows)


def evaluation_sections(
    header: Mapping[str, Any], errors: Mapping[str, Metrics], drawn: Sequence[Picture], foreign: Sequence[Extrapolation] = ()
) -> list[Section]:
    """The pages of an evaluation: what was trained, how wrong it is, where it had no ground to judge."""
    tables = [error_table(errors), *detail_tables(next(iter(errors.values()), {}))]
    tables += [range_table(foreign)] if foreign else []
    said = "" if "test" in errors or not errors else NO_TEST_SET
    return [Section("Potential", tables=[facts(header)]), Section("Errors", tables=tables, figures=drawn, text=said)]


def conclusion(parts: Mapping[str, Metrics], page: Path, wall_s: float) -> str:
    """What an evaluation ends with: whether it knows its errors on the first part of the data, and where more is said."""
    part, found = next(iter(parts.items()))
    count = sum(one["structures"] for one in parts.values())
    judged = reliability.sentence(found)
    said = [*([f"{part}, {judged}"] if judged else []), f"{count} structures in {wall_s:.0f} s → {page}"]
    return "\n".join(f"evaluate: {line}" for line in said)


def save_pictures(folder: Path, drawn: Mapping[str, tuple[Figure, str]]) -> list[Picture]:
    """Write figures with their captions as the only content of a folder, and read them back for a page."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, (figure, caption) in drawn.items():
        (folder / f"{name}.svg").write_text(figures.svg(figure, caption=caption), encoding="utf-8")
    return [picture(folder / f"{name}.svg") for name in drawn]


def pictures(comparison: Comparison, members: Sequence[Sequence[Mapping[str, float | int | None]]]) -> dict[str, tuple[Figure, str]]:
    """Every figure of an evaluation under its file name, with its caption; figures without data are left out."""
    energy, label = comparison.energy / comparison.n_atoms, comparison.energy_label / comparison.n_atoms
    by_element = {
        chemical_symbols[z]: (comparison.forces - comparison.forces_label)[comparison.numbers == z] for z in np.unique(comparison.numbers)
    }
    by_element = {element: values for element, values in by_element.items() if np.isfinite(values).any()}
    drawn: dict[str, tuple[Figure, str]] = {}
    if any(members):
        drawn["learning_curves"] = (figures.learning_curves(members), "Learning curves, one line per member of the ensemble.")
    if np.isfinite(label).any():
        caption = "Energy per atom, predicted against reference; colour is the density of points."
        drawn["parity_energy"] = (figures.parity(label, energy, quantity="energy per atom", unit="eV/atom"), caption)
    if by_element:
        caption = "Force components, predicted against reference."
        drawn["parity_forces"] = (
            figures.parity(comparison.forces_label, comparison.forces, quantity="force component", unit="eV/Å"),
            caption,
        )
        drawn["force_errors"] = (figures.error_histogram(by_element, unit="eV/Å"), "Distribution of the force errors by element.")
        means = {element: 1e3 * float(np.nanmean(np.abs(values))) for element, values in by_element.items()}
        drawn["force_errors_by_element"] = (
            figures.bars(means, xlabel="element", ylabel="force MAE (meV/Å)"),
            "Mean absolute force error by element.",
        )
    if np.isfinite(comparison.stress_label).any():
        caption = "Stress components, predicted against reference."
        drawn["parity_stress"] = (
            figures.parity(comparison.stress_label, comparison.stress, quantity="stress", unit="eV/Å³"),
            caption,
        )
    spread, error = comparison.force_spreads(), comparison.force_errors()
    if (np.isfinite(spread) & np.isfinite(error) & (spread > 0) & (error > 0)).any():
        caption = "Does the ensemble know where it is wrong? Error of the force on every atom against the spread of the members."
        drawn["spread_against_error"] = (figures.spread_against_error(spread, error, unit="eV/Å"), caption)
    return {**drawn, **reliability.pictures(comparison)}


def background(header: Mapping[str, Any]) -> Section:
    """Where the potential comes from: configuration and provenance."""
    config = OmegaConf.to_yaml(OmegaConf.create(dict(header.get("config", {}))))
    rows = [(key, str(value)) for key, value in header.get("provenance", {}).items()]
    return Section("Provenance", tables=[Table("", ("", ""), rows)], folded=[("Resolved configuration", config)])


def final_table(evaluation: Mapping[str, Any], simulation: Mapping[str, Any], training: Mapping[str, Any]) -> Table:
    """The outcome in a few lines: errors on the test set, or else the validation set, drift of the simulation, wall times."""
    rows: list[Sequence[Cell]] = []
    part, said = ("test", "") if "test" in evaluation else ("valid", " (validation set)")
    for name, key, unit in QUANTITIES:
        if one := evaluation.get(part, {}).get(key):
            rows.append((f"{name}, MAE{said}", text(1e3 * one["mae"]), unit))
    for name, run in simulation.items():
        if drift := _drift(run):
            rows.append((f"drift of the {run.get('conserved', 'total energy')}, {name}", drift, "meV/atom/ps"))
        if "replicas" in run:
            rows.append((f"stopped by the watchdog, {name}", f"{run['stopped']} of {run['replicas']}", "replicas"))
    moved = sum(run.get("wall_s", 0.0) for run in simulation.values())
    seconds = {"training": training.get("wall_s"), "evaluation": evaluation.get("wall_s"), "simulation": moved or None}
    rows.extend((f"time, {name}", text(float(value)), "s") for name, value in seconds.items() if value is not None)
    return Table("", ("", "", ""), rows)


def simulation_tables(simulation: Mapping[str, Any]) -> list[Table]:
    """Temperature, drift, spread and speed of every run, and its bonds and angles beside those of the reference."""
    rows: list[Sequence[Cell]] = [
        (
            name,
            run.get("temperature_K"),
            _drift(run),
            run.get("sigma_total_meV_per_atom"),
            run.get("spread_meV_per_atom"),
            run.get("ns_per_day"),
            run.get("wall_s"),
        )
        for name, run in simulation.items()
        if "replicas" not in run
    ]
    columns = ("run", "T (K)", "drift", "σ(E)", "spread", "ns/day", "wall (s)")  # fits a terminal of 80 columns
    said = "Runs: mean temperature; drift of the conserved energy in meV/atom/ps, its σ and the spread of the members in meV/atom"
    return [
        *([Table(said, columns, rows)] if rows else []),
        *(table for name, run in simulation.items() if "by_temperature" in run for table in replica_tables(name, run)),
        *(table for name, run in simulation.items() if (table := observable_table(name, run)).rows),
        *(distribution_table(name, run["distributions"]) for name, run in simulation.items() if run.get("distributions")),
    ]


def _drift(run: Mapping[str, Any]) -> Cell:
    return with_error(run.get("drift_meV_per_atom_per_ps"), run.get("drift_error_meV_per_atom_per_ps"))


def label_table(labels: Mapping[str, Any]) -> Table:
    """How the data came about."""
    failures = labels.get("failures", [])
    rows: list[Sequence[Cell]] = [
        ("level of theory", _words(labels.get("level_of_theory", ""))),
        ("labelled structures", labels.get("n_structures")),
        ("not labelled", len(failures)),
        *(("", f"{one['name']}: {one['reason']}") for one in failures[:10]),
    ]
    return Table("", ("", ""), [(name, text(value)) for name, value in rows])


def metric_names(parts: Mapping[str, Metrics]) -> dict[str, float]:
    """Errors under the names they have in MLflow: `test/forces_mae`, `test/forces_by_element_H_rmse`."""
    return {
        f"{part}/{'_'.join(path)}": float(value)
        for part, found in parts.items()
        for path, value in leaves(found)
        if isinstance(value, float | int) and path[-1] not in ("count", "structures", "atoms")
    }


def _milli(one: Mapping[str, float] | None) -> float | None:
    return None if one is None else 1e3 * one["mae"]


def _target(config: Mapping[str, Any], noun: str) -> str:
    return str(config.get(noun, {}).get("_target_", "")).rpartition(".")[2]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{item}" for item in value.values())
    return str(value)


def _descriptor(header: Mapping[str, Any]) -> str:
    name, features = _target(header.get("config", {}), "descriptor"), header.get("n_features")
    return f"{name}, {features} features per atom" if features else name
