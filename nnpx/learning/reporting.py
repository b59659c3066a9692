"""A round in numbers, and the pictures that show them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from nnpx import artifact
from nnpx.data.reader import read
from nnpx.figures import svg
from nnpx.files import read_json, write_text
from nnpx.learning import figures
from nnpx.learning.places import RoundFolder
from nnpx.learning.uncertainty import compared, force_rmse

Row = dict[str, Any]


def first_row(here: RoundFolder, n_start: int) -> Row:
    """What there was before the first round: the calculations that the data of the start (so many) and their examination took."""
    n_calls = n_start + read_json(here.labels)["n_calls"]
    return {"round": 0, "n_calls": n_calls, "n_train": read_json(here.data / "card.json")["counts"]["train"]}


def calls_of_start(here: RoundFolder, workspace: Path) -> int:
    """The calculations that the data of the start took, as long as data/ holds those."""
    labels, card = read_json(workspace / "data" / "labels.json"), read_json(here.data / "card.json")
    return int(labels.get("n_structures", sum(card["counts"].values()))) + len(card["isolated_atoms"])


def row_of_round(number: int, here: RoundFolder, before: RoundFolder, calls_before: int) -> Row:
    """The report of a round; what an uncertainty of unknown width says of errors is None.

    Args:
        number: of the round.
        here: its files.
        before: those of the round before, whose potential walked.
        calls_before: calculations with the reference engine that this potential had cost.
    """
    walk, labels, card = read_json(here.walk), read_json(here.labels), read_json(here.data / "card.json")
    frames, is_calibrated = np.array(walk["uncertainty"]), "forces" in artifact.load(before.potential).calibration.curves
    labelled = read(here.labelled) if here.labelled.stat().st_size else []
    errors: Row = {}
    for name in ("chosen", "drawn"):
        own = [atoms for atoms in labelled if atoms.info["why"] == name]
        errors[f"{name}_before"], errors[f"{name}_after"] = _error(before.potential, own), _error(here.potential, own)
    return {
        "round": number,
        "n_frames": len(frames),
        "n_candidates": walk["n_candidates"],
        "candidate_fraction": float((frames > walk["lower"]).mean()) if len(frames) else None,
        "spread_q99": float(np.quantile(frames, 0.99)) if len(frames) and is_calibrated else None,
        "force_rmse": errors["drawn_before"],
        **errors,
        "lower": walk["lower"],
        "upper": walk["upper"],
        "n_labelled": len(labelled),
        "n_failed": len(labels["failures"]),
        "n_calls_before": calls_before,
        "n_calls": calls_before + labels["n_calls"],
        "n_train": card["counts"]["train"],
        "n_valid": card["counts"]["valid"],
        "walked_ps": sum(walker["walked_ps"] for walker in walk["walkers"]),
        "fates": dict(Counter(walker["fate"] for walker in walk["walkers"])),
    }


def draw(row: Row, here: RoundFolder) -> list[Path]:
    """The pictures of a round as SVG files in its folder."""
    walk = read_json(here.walk)
    drawn = {
        "uncertainty": figures.uncertainty(walk["uncertainty"], row["lower"], row["upper"]),
        "walkers": figures.walkers(walk["walkers"]),
    }
    if row["chosen_before"] is not None or row["drawn_before"] is not None:
        drawn["errors"] = figures.errors(row)
    captions = {
        "uncertainty": "How uncertain the frames of the walkers were",
        "walkers": "How far the walkers went, and how they ended",
        "errors": "Force errors on the new labels before and after they were learned",
    }
    paths = []
    for name, figure in drawn.items():
        paths.append(here.folder / "figures" / f"{name}.svg")
        write_text(paths[-1], svg(figure, caption=captions[name]))
    return paths


def metrics(row: Row) -> dict[str, float | int | None]:
    """The numbers of a report; errors that do not exist are None."""
    told = {key: value for key, value in row.items() if isinstance(value, int | float) or value is None}
    return {**told, **{f"walkers_{fate.replace(' ', '_')}": count for fate, count in row["fates"].items()}}


def _error(potential: Path, structures: Sequence[Atoms]) -> float | None:
    """Root mean square error of the force on an atom, eV/Å; None without structures, or with elements that the potential does not know."""
    ensemble = artifact.load(potential).requires_grad_(requires_grad=False)
    known = [atoms for atoms in structures if set(atoms.numbers.tolist()) <= set(ensemble.numbers)]
    return force_rmse(compared(ensemble, known)) if known else None
