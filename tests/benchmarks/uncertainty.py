"""What potentials know of their errors, and at what cost: python tests/benchmarks/uncertainty.py PROJECT … --inside GROUP --outside GROUP

One JSON line per trained project folder whose test set has both groups: force errors of the ensemble and of its members, calibration, rank
correlation of the spread of an atom's force with its error, how well the most foreign atom of a frame tells the groups apart, and times.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from nnpx import artifact
from nnpx.data.reader import read
from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison, batches, compare, predict
from nnpx.extrapolation import measure_mahalanobis, measure_ranges, novelty
from nnpx.files import read_json
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.uncertainty.quality import auroc_between, observed_coverage, rmsce


def force_rmse(ensemble: Ensemble, graph: AtomicGraph) -> float:
    """Root mean square error of a force component, meV/Å, without a spread."""
    forces = torch.cat([ensemble(piece, spread=False).forces for piece in batches(graph, ensemble)])
    return 1e3 * float((forces - graph.forces).square().mean().sqrt())


def seconds_per_structure(ensemble: Ensemble, graph: AtomicGraph, *, spread: bool) -> float:
    """Shortest of five evaluations of 64 structures."""
    piece, found = graph.select(torch.arange(min(64, graph.n_structures))), []
    for _ in range(5):
        started = time.perf_counter()
        ensemble(piece, spread=spread)
        found.append(time.perf_counter() - started)
    return min(found) / piece.n_structures


def row(project: Path, inside: str, outside: str) -> dict[str, object]:
    """The numbers of one project."""
    ensemble = artifact.load(project / "models/potential.nnpx")
    structures, train = (read(project / f"data/prepared/{part}.extxyz") for part in ("test", "train"))
    known = graph_from_list(train, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="train")
    ground = measure_ranges(ensemble, batches(known, ensemble)), measure_mahalanobis(ensemble, batches(known, ensemble))
    ensemble = Ensemble([*ensemble.members], ensemble.calibration, *ground)
    compared: dict[str, Comparison] = {}
    graphs: dict[str, AtomicGraph] = {}
    for group in (inside, outside):
        own = [atoms for atoms in structures if atoms.info["group"] == group]
        graphs[group] = graph_from_list(own, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where=group)
        prediction = predict(ensemble, batches(graphs[group], ensemble))
        compared[group] = compare(
            graphs[group], prediction, ensemble.numbers, [group] * len(own), novelty(ensemble, batches(graphs[group], ensemble))
        )
    found: dict[str, object] = {"project": project.name, "members": ensemble.n_members}
    for group, one in compared.items():
        deviations = one.deviations()["forces"]
        members = [force_rmse(Ensemble([member]), graphs[group]) for member in ensemble.members]
        found[group] = {
            "force_rmse_meV": 1e3 * float(np.sqrt((deviations.error**2).mean())),
            "mean_force_rmse_of_members_meV": float(np.mean(members)),
            "energy_rmse_meV": 1e3 * float(np.sqrt(((one.energy - one.energy_label) ** 2).mean())),
            "rmsce": rmsce(observed_coverage(deviations.error.ravel(), deviations.total.ravel())),
            "spearman_of_atoms": float(spearmanr(one.force_spreads(), one.force_errors()).statistic),
        }
    strange = [compared[group].strangeness() for group in (inside, outside)]
    found["auroc"] = {kind: auroc_between(*(one[kind] for one in strange)) for kind in strange[0]}
    alone = seconds_per_structure(Ensemble([ensemble.members[0]]), graphs[inside], spread=False)
    found["cost_over_one_member"] = {
        name: seconds_per_structure(ensemble, graphs[inside], spread=spread) / alone
        for name, spread in {"energy": False, "forces": True}.items()
    }
    found["train_wall_s"] = read_json(project / "models/training.json")["wall_s"]
    return found


def main() -> None:
    """Print one line per project."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", type=Path, nargs="+")
    parser.add_argument("--inside", required=True, help="group like the training set")
    parser.add_argument("--outside", required=True, help="group unlike it")
    asked = parser.parse_args()
    for project in asked.projects:
        print(json.dumps(row(project, asked.inside, asked.outside), indent=1))


if __name__ == "__main__":
    main()
