"""How uncertain a structure is: the largest spread of the force on an atom, which `uncertainty` has calibrated, eV/Å."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison, batches, compare, predict
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list


def of_structures(ensemble: Ensemble, graph: AtomicGraph) -> tuple[Float[np.ndarray, " structure"], Float[np.ndarray, "atom 3"]]:
    """max_i √(Σ_x σ_ix²) of each structure, infinite where a prediction is not finite, and the forces; eV/Å."""
    prediction = predict(ensemble, batches(graph, ensemble))
    spread = torch.linalg.vector_norm(prediction.forces_std.double(), dim=1)
    spread = torch.where(torch.isfinite(spread), spread, torch.inf)
    largest = torch.zeros(graph.n_structures, dtype=torch.float64)
    largest.scatter_reduce_(0, graph.owner.cpu(), spread.cpu(), reduce="amax")
    return largest.numpy(), prediction.forces.double().cpu().numpy()


def compared(ensemble: Ensemble, structures: Sequence[Atoms]) -> Comparison:
    """Labels and predictions of these structures side by side."""
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="labelled structures")
    return compare(graph, predict(ensemble, batches(graph, ensemble)), ensemble.numbers, [""] * len(structures))


def force_rmse(comparison: Comparison) -> float:
    """Root mean square of |ΔF| over atoms, eV/Å."""
    return float(np.sqrt(np.mean(comparison.force_errors() ** 2)))


def of_labelled(comparison: Comparison) -> tuple[Float[np.ndarray, " structure"], Float[np.ndarray, " structure"]]:
    """Root mean squares over the atoms of each structure of the spread of the force and of its error |ΔF|, eV/Å."""
    spread, error = (
        np.sqrt(np.bincount(comparison.owner, atoms**2) / comparison.n_atoms)
        for atoms in (comparison.force_spreads(), comparison.force_errors())
    )
    return spread, error
