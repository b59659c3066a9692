"""How uncertain a structure is, in eV/Å that mean what they say.

    σ_i = c √(Σ_x σ_ix²),   c = √(⟨|ΔF|²⟩ / ⟨Σ_x σ_x²⟩)   over the atoms of labelled structures that were not trained on

The members of an ensemble agree more than they should, because they have seen the same data: c says by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from nnpx import artifact
from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison, batches, compare, predict
from nnpx.graph import AtomicGraph
from nnpx.metrics import spread_quality
from nnpx.neighbors import graph_from_list


@final
@dataclass(frozen=True)
class Calibrated:
    """An ensemble whose spread has been compared with its errors.

    Args:
        ensemble: at least two members.
        factor: c.
        spread: c σ of the atoms of the validation set, eV/Å.
        error: |ΔF| of the same atoms, eV/Å.
    """

    ensemble: Ensemble
    factor: float
    spread: Float[np.ndarray, " atom"]
    error: Float[np.ndarray, " atom"]

    def of_structures(self, graph: AtomicGraph) -> tuple[Float[np.ndarray, " structure"], Float[np.ndarray, "atom 3"]]:
        """The largest calibrated spread of each structure, infinite where a prediction is not finite, and the forces; eV/Å."""
        prediction = predict(self.ensemble, batches(graph))
        return of_structures(prediction.forces_std, graph, self.factor), prediction.forces.double().cpu().numpy()


def of_structures(forces_std: torch.Tensor, graph: AtomicGraph, factor: float) -> Float[np.ndarray, " structure"]:
    """max_i σ_i of each structure from the spread of the force components, eV/Å."""
    spread = factor * torch.linalg.vector_norm(forces_std.double(), dim=1)
    spread = torch.where(torch.isfinite(spread), spread, torch.inf)
    largest = torch.zeros(graph.n_structures, dtype=torch.float64)
    largest.scatter_reduce_(0, graph.owner.cpu(), spread.cpu(), reduce="amax")
    return np.asarray(largest.numpy())


def calibrated(potential: Path, structures: Sequence[Atoms]) -> Calibrated:
    """The potential of a file, calibrated on labelled structures.

    Args:
        potential: its file.
        structures: labelled, not trained on.
    """
    ensemble = artifact.load(potential).requires_grad_(requires_grad=False)
    if not structures:
        return Calibrated(ensemble, 1.0, np.zeros(0), np.zeros(0))
    comparison = compared(ensemble, structures)
    spread, error = comparison.force_spreads(), comparison.force_errors()
    factor = float(spread_quality(spread, error).get("rms_ratio", 1.0))
    return Calibrated(ensemble, factor, factor * spread, error)


def compared(ensemble: Ensemble, structures: Sequence[Atoms]) -> Comparison:
    """Labels and predictions of these structures side by side."""
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="labelled structures")
    return compare(graph, predict(ensemble, batches(graph)), ensemble.numbers, [""] * len(structures))


def force_rmse(comparison: Comparison) -> float:
    """Root mean square of |ΔF| over atoms, eV/Å."""
    return float(np.sqrt(np.mean(comparison.force_errors() ** 2)))
