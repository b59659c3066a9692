"""What a training amounts to, in the few numbers by which choices are compared: errors on the validation set, and cost.

The test set is left alone: whoever chooses by its errors has no test set any more. It is measured by `nnpx evaluate`, after the choice.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from nnpx.data.reader import read
from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison, batches, calibrate, compare, predict
from nnpx.extrapolation import measure_mahalanobis, measure_ranges
from nnpx.graph import AtomicGraph
from nnpx.metrics import metrics
from nnpx.neighbors import graph_from_list
from nnpx.uncertainty import QUANTITIES as SPREADS
from nnpx.uncertainty import Uncertainty
from nnpx.uncertainty.none import Uncalibrated

#: errors by which potentials are compared
QUANTITIES: Final = ("energy_per_atom", "forces", "stress")
#: structures that are timed together, and how often after the first time, which warms up
TIMED_STRUCTURES: Final = 64
REPEATS: Final = 5


def knowing_itself(ensemble: Ensemble, uncertainty: Uncertainty, prepared: Path) -> Ensemble:
    """The same members with what they know of their limits: where the environments of training lie, and a calibrated spread.

    The spread is calibrated on the validation set, as far as there are a spread and enough structures.

    Args:
        ensemble: what was trained, not calibrated.
        uncertainty: the way to find the curves.
        prepared: the folder that holds train.extxyz and valid.extxyz.
    """
    train, valid = (_graph(ensemble, prepared / f"{part}.extxyz") for part in ("train", "valid"))
    ranges = None if train is None else measure_ranges(ensemble, batches(train, ensemble))
    mahalanobis = None if train is None else measure_mahalanobis(ensemble, batches(train, ensemble))
    calibration = None if valid is None or ensemble.n_members < 2 else calibrate(_compared(ensemble, valid), uncertainty)
    return Ensemble([*ensemble.members], calibration, ranges, mahalanobis).eval()


def remarks(members: Sequence[Mapping[str, Any]], ensemble: Ensemble, uncertainty: Uncertainty) -> list[str]:
    """What a training did not do though it was asked for, in sentences.

    Args:
        members: what `training.json` says of them; a best epoch 0 is what a member started from.
        ensemble: what was trained; a spread has no curve where too few errors were larger than the noise.
        uncertainty: the way to find the curves.
    """
    kept = [k for k, member in enumerate(members) if member["best_epoch"] == 0]
    is_wanted = ensemble.n_members > 1 and not isinstance(uncertainty, Uncalibrated)
    uncalibrated = [name for name in SPREADS if is_wanted and name not in ensemble.calibration.curves]
    return [
        *(f"member {k} keeps the weights that it started from: no epoch was better on the validation set" for k in kept),
        *(f"the spread of {name} is that of the members, which the validation set did not calibrate" for name in uncalibrated),
    ]


def measure(ensemble: Ensemble, prepared: Path, *, train_wall_s: float) -> dict[str, float]:
    """The outcome of a training.

    Args:
        ensemble: what was trained, in the precision in which it will be used.
        prepared: the folder that holds valid.extxyz.
        train_wall_s: s; how long the training took.

    Returns:
        `valid/energy_per_atom_mae` (eV), `valid/forces_mae` (eV/Å), `valid/stress_mae` (eV/Å³), as far as there are labels;
        `us_per_atom` (µs; energy and forces of the ensemble, neighbours known), `n_parameters` (of all members) and `train_wall_s`.
    """
    graph = _graph(ensemble, prepared / "valid.extxyz")
    cost = {"n_parameters": float(sum(weight.numel() for weight in ensemble.parameters())), "train_wall_s": train_wall_s}
    if graph is None:
        return cost
    found = metrics(_compared(ensemble, graph))
    errors = {f"valid/{name}_mae": float(found[name]["mae"]) for name in QUANTITIES if name in found}
    return {**errors, "us_per_atom": round(microseconds_per_atom(ensemble, graph), 3), **cost}


def _graph(ensemble: Ensemble, path: Path) -> AtomicGraph | None:
    """The structures of a file, in the precision of the potential; None without any."""
    if not path.stat().st_size:
        return None
    return graph_from_list(read(path), numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where=path.name, dtype=ensemble.dtype)


def _compared(ensemble: Ensemble, graph: AtomicGraph) -> Comparison:
    return compare(graph, predict(ensemble, batches(graph, ensemble)), ensemble.numbers, [""] * graph.n_structures)


def microseconds_per_atom(ensemble: Ensemble, graph: AtomicGraph) -> float:
    """Median wall time of energy and forces of the whole ensemble, in µs per atom, over a batch of the first structures."""
    piece = graph.select(torch.arange(min(TIMED_STRUCTURES, graph.n_structures)))
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        ensemble(piece, spread=False)
        seconds.append(time.perf_counter() - started)
    return 1e6 * statistics.median(seconds[1:]) / piece.n_atoms
