"""How uncertain a structure is: the largest spread of the force on an atom, which `uncertainty` has calibrated, eV/Å; and how foreign."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int

from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison, batches, compare, predict
from nnpx.extrapolation import novelty
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list


def of_structures(ensemble: Ensemble, graph: AtomicGraph) -> tuple[Float[np.ndarray, " structure"], Float[np.ndarray, "atom 3"]]:
    """max_i √(Σ_x σ_ix²) of each structure, infinite where a prediction is not finite, and the forces; eV/Å."""
    prediction = predict(ensemble, batches(graph, ensemble))
    spread = torch.linalg.vector_norm(prediction.forces_std.double(), dim=1)
    spread = torch.where(torch.isfinite(spread), spread, torch.inf).cpu().numpy()
    return _largest(spread, graph.owner.cpu().numpy(), graph.n_structures), prediction.forces.double().cpu().numpy()


def distances(ensemble: Ensemble, structures: Sequence[Atoms]) -> Float[np.ndarray, " structure"]:
    """max_i d_i of each structure, d_i the Mahalanobis distance of an atom from training.

    An atom of an element whose training environments do not differ from each other tells nothing, and counts as 0.
    """
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="the walkers")
    found = novelty(ensemble, batches(graph, ensemble)).get("mahalanobis", torch.zeros(len(graph.species)))
    return _largest(found.nan_to_num(posinf=0.0).numpy(), graph.owner.cpu().numpy(), graph.n_structures)


def compared(ensemble: Ensemble, structures: Sequence[Atoms]) -> Comparison:
    """Labels and predictions of these structures side by side."""
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="labelled structures")
    return compare(graph, predict(ensemble, batches(graph, ensemble)), ensemble.numbers, [""] * len(structures))


def _largest(values: Float[np.ndarray, " atom"], owner: Int[np.ndarray, " atom"], n_structures: int) -> Float[np.ndarray, " structure"]:
    """Of the atoms of each structure."""
    largest = np.zeros(n_structures)
    np.maximum.at(largest, owner, values)
    return largest


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
