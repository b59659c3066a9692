"""Curves that DVC draws for several revisions in one picture: what `evaluate` writes as CSV, and `nnpx plots` and `dvc plots` read."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from nnpx.evaluation import Comparison
from nnpx.files import write_text

#: columns of a learning curve beside the epoch; energy in eV/atom, forces in eV/Å
LEARNING: Final = ("train_loss", "valid_loss", "valid_energy_mae_per_atom", "valid_forces_mae")
#: quantiles of the errors, and rows of a parity plot at most: enough for the eye
_QUANTILES: Final = 101
_POINTS: Final = 500

Rows = list[dict[str, float | int | None]]


def write_tables(folder: Path, comparison: Comparison, members: Sequence[Sequence[Mapping[str, float | int | None]]]) -> None:
    """Write learning_curves.csv, force_errors.csv and parity_energy.csv; one without data keeps its header, so that DVC finds it."""
    tables = {
        "learning_curves": (("epoch", *LEARNING), learning_curve(members)),
        "force_errors": (("share", "error"), error_distribution(comparison)),
        "parity_energy": (("reference", "prediction"), parity_of_energies(comparison)),
    }
    for name, (columns, rows) in tables.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(folder / f"{name}.csv", text.getvalue())


def learning_curve(members: Sequence[Sequence[Mapping[str, float | int | None]]]) -> Rows:
    """Mean over the members that still train, epoch by epoch; what is not labelled is None."""
    rows: Rows = []
    for k in range(max(map(len, members), default=0)):
        present = [curve[k] for curve in members if k < len(curve)]
        found = {key: [value for row in present if (value := row.get(key)) is not None] for key in LEARNING}
        rows.append({"epoch": present[0]["epoch"], **{key: float(np.mean(values)) if values else None for key, values in found.items()}})
    return rows


def error_distribution(comparison: Comparison) -> Rows:
    """The share of atoms (%) whose force is wrong by at most `error` (eV/Å)."""
    errors = comparison.force_errors()
    errors = errors[np.isfinite(errors)]
    if not errors.size:
        return []
    shares = np.linspace(0.0, 1.0, _QUANTILES)
    return [{"share": round(100 * q, 6), "error": e} for q, e in zip(shares.tolist(), np.quantile(errors, shares).tolist(), strict=True)]


def parity_of_energies(comparison: Comparison) -> Rows:
    """Energy per atom (eV), predicted beside reference, of evenly chosen structures."""
    reference, prediction = comparison.energy_label / comparison.n_atoms, comparison.energy / comparison.n_atoms
    labelled = np.flatnonzero(np.isfinite(reference))
    chosen = labelled[:: max(1, -(-labelled.size // _POINTS))]
    return [{"reference": float(reference[k]), "prediction": float(prediction[k])} for k in chosen]
