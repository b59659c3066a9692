"""From energies to predictions: gradients in the edge vectors, the forces and stress that follow, and the spread of several."""

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.graph import AtomicGraph, Edges, Prediction
from nnpx.reduce import sum_atoms_to_structures, sum_edges_to_atoms


def gradients(energies: Float[Tensor, " head"], vector: Float[Tensor, "edge 3"], *, create_graph: bool) -> Float[Tensor, "head edge 3"]:
    """∂V_m/∂r_ij of every energy V_m, in one batched backward pass; with `create_graph` they can be differentiated once more."""
    if len(energies) == 1:
        return torch.autograd.grad(energies[0], vector, create_graph=create_graph)[0][None]
    one_each = torch.eye(len(energies), dtype=energies.dtype, device=energies.device)
    slopes: Tensor = torch.vmap(lambda one: torch.autograd.grad(energies, vector, one, create_graph=create_graph)[0])(one_each)
    return slopes


def joint_prediction(
    graph: AtomicGraph,
    edges: Edges,
    atomic_energies: Float[Tensor, "member atom"],
    pulls: Float[Tensor, "pull edge 3"],
    noise: Float[Tensor, "atom 2"],
) -> Prediction:
    """Means over members or heads with their spread, and the noise.

    Args:
        graph: the structures.
        edges: their pairs.
        atomic_energies: E_i of every member, eV.
        pulls: ∂V/∂r_ij of every member, or their mean alone where no spread of the forces is asked for.
        noise: variances, eV² and (eV/Å)².
    """
    energies = sum_atoms_to_structures(atomic_energies.T, graph.owner, graph.n_structures)
    forces, stress = forces_and_stress(graph, edges, pulls.mean(0))
    nothing = torch.full_like(energies[:, 0], torch.nan)
    return Prediction(
        energy=energies.mean(1),
        forces=forces,
        stress=stress,
        atomic_energies=atomic_energies.mean(0),
        energy_std=energies.std(1) if energies.shape[1] > 1 else nothing,
        forces_std=_forces(edges, pulls.transpose(0, 1)).std(1) if len(pulls) > 1 else torch.full_like(forces, torch.nan),
        energy_noise=sum_atoms_to_structures(noise[:, 0].double(), graph.owner, graph.n_structures).sqrt(),
        forces_noise=noise[:, 1:].sqrt().to(forces.dtype).expand_as(forces),
    )


def forces_and_stress(
    graph: AtomicGraph, edges: Edges, pull: Float[Tensor, "edge 3"]
) -> tuple[Float[Tensor, "atom 3"], Float[Tensor, "structure 3 3"]]:
    """Forces and stress from the derivative of the energy in the edge vectors, pull_ij = ∂V/∂r_ij.

        F_i = Σ_j (pull_ij − pull_ji)        stress = (1/volume) Σ_ij r_ij ⊗ pull_ij

    because r_ij = r_j + S·cell − r_i moves with the positions, and under a strain as r_ij → r_ij (1 + strain).
    """
    forces = _forces(edges, pull)
    if not graph.periodic:
        return forces, torch.full_like(graph.cell, torch.nan)
    volume = graph.volume[:, None, None]
    # the division must not meet a NaN: what it does to a gradient, no mask can undo
    stress = _virial(graph, edges, pull) / torch.where(volume.isnan(), 1.0, volume)
    return forces, torch.where(volume.isnan(), volume, stress)


def _forces(edges: Edges, pull: Float[Tensor, "edge *member 3"]) -> Float[Tensor, "atom *member 3"]:
    """F_i = Σ_j (pull_ij − pull_ji), of several members at once."""
    return sum_edges_to_atoms(pull, edges.center, edges.n_atoms) - sum_edges_to_atoms(pull, edges.neighbor, edges.n_atoms)


def _virial(graph: AtomicGraph, edges: Edges, pull: Float[Tensor, "edge 3"]) -> Float[Tensor, "structure 3 3"]:
    """Σ_ij r_ij ⊗ pull_ij of every structure; of a single one as one matrix product."""
    if graph.n_structures == 1:
        return (edges.vector.mT @ pull)[None]
    of_atoms = sum_edges_to_atoms(edges.vector[:, :, None] * pull[:, None, :], edges.center, edges.n_atoms)
    return sum_atoms_to_structures(of_atoms, graph.owner, graph.n_structures)
