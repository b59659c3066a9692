"""From energies to predictions: gradients in the edge vectors, the forces and stress that follow, and the spread of several."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp

from nnpx.errors import ConfigError
from nnpx.graph import AtomicGraph, Edges, Prediction
from nnpx.reduce import sum_atoms_to_structures, sum_edges_to_atoms
from nnpx.speed import pair_loops
from nnpx.speed.threads import one_at_a_time

_Values = TypeVar("_Values", bound=Tensor | tuple[Tensor, ...])


def refuse_inference_mode() -> None:
    """Where everything seems to depend on nothing, forces would be zero.

    Raises:
        ConfigError: within `torch.inference_mode`.
    """
    if torch.is_inference_mode_enabled():
        found, do = (
            "torch.inference_mode, which differentiates nothing",
            "Leave it out: forces are derivatives; torch.no_grad changes nothing.",
        )
        raise ConfigError("around a potential", expected="no inference mode", found=found, do=do)


def refuse_reduced_precision(potential: nn.Module) -> None:
    """Where torch rounds float32 to TF32 or bfloat16 before it multiplies matrices, forces would have three digits and nobody would know.

    Products in float64 are what they are, and the convolutions of cuDNN, for which torch allows TF32 from the start, are not used here.

    Args:
        potential: whose weights are multiplied with.

    Raises:
        ConfigError: torch was told to multiply float32 in less.
    """
    if not _multiplies_in_full() and any(weight.dtype == torch.float32 for weight in potential.parameters()):
        found = 'less: torch.set_float32_matmul_precision("high") or "medium", allow_tf32, an fp32_precision of torch.backends or autocast'
        do = 'Set torch.set_float32_matmul_precision("highest"), and no fp32_precision but "ieee"; leave torch.autocast.'
        raise ConfigError("around a potential", expected="products of matrices in full float32", found=found, do=do)


def _multiplies_in_full() -> bool:
    try:
        casts = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        return torch.get_float32_matmul_precision() == "highest" and not casts
    except RuntimeError:  # of several devices or libraries each has been told its own
        return False


def refuse_further_derivatives(what: str) -> None:
    """For a backward pass that is written out and has no derivative itself: autograd would take it for constant.

    Raises:
        RuntimeError: within a backward pass that is to be differentiated again.
    """
    if torch.is_grad_enabled():
        found, do = "one with create_graph=True", "Take differences of forces instead."
        raise RuntimeError(f"{what}: expected the last backward pass, as their derivative has none itself, found {found}. {do}")


def gradients(
    energies: Float[Tensor, " head"], variables: tuple[Tensor, ...], *, create_graph: bool
) -> tuple[Float[Tensor, "head ..."], ...]:
    """∂V_m/∂x of every energy V_m, in one batched backward pass; with `create_graph` they can be differentiated once more."""
    one_each = torch.eye(len(energies), dtype=energies.dtype, device=energies.device)
    return gradients_of(energies, variables, one_each, create_graph=create_graph)


def gradients_of(
    values: Float[Tensor, "..."], variables: tuple[Tensor, ...], slopes: Float[Tensor, "energy ..."], *, create_graph: bool = False
) -> tuple[Float[Tensor, "energy ..."], ...]:
    """∂V_m/∂x = (∂V_m/∂y) (∂y/∂x) of every energy V_m, in one batched backward pass from y.

    Args:
        values: y, which depends on the variables.
        variables: x.
        slopes: ∂V_m/∂y.
        create_graph: whether the outcome can be differentiated once more.

    Returns:
        Those by each variable; zero where y depends on none.
    """

    def of_one(slope: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(values, variables, slope, retain_graph=True, create_graph=create_graph)

    if not values.requires_grad:
        return tuple(variable.new_zeros(len(slopes), *variable.shape) for variable in variables)
    if len(slopes) == 1:
        return tuple(gradient[None] for gradient in of_one(slopes[0]))
    several: tuple[Tensor, ...] = torch.vmap(of_one)(slopes)
    return several


def forward_derivative(
    function: Callable[[Tensor], _Values], x: Float[Tensor, "..."], change: Float[Tensor, "..."]
) -> tuple[_Values, _Values]:
    """f(x) and (∂f/∂x) δx of what may be several tensors, by forward differentiation.

    One thread at a time: what torch marks for one of them, another would take for its own.
    """
    with one_at_a_time():
        values, changes = jvp(function, (x,), (change,))[:2]
    return values, changes


def with_slope(function: Callable[[Tensor], Tensor], x: Float[Tensor, " row"]) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
    """f(x) and f′(x) of a function that acts on every number by itself."""
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        values = function(at)
        (slope,) = torch.autograd.grad(values.sum(), at)
    return values.detach(), slope


def joint_prediction(
    graph: AtomicGraph,
    edges: Edges,
    atomic_energies: Float[Tensor, "member atom"],
    pulls: Float[Tensor, "pull edge 3"],
    noise: Float[Tensor, "atom 2"],
    *,
    slope_of_spread: bool = False,
) -> Prediction:
    """Means over members or heads with their spread, and the noise.

        ∂σ_V/∂r_i = −Σ_m (V_m − V) F_mi / ((M − 1) σ_V)

    Args:
        graph: the structures.
        edges: their pairs.
        atomic_energies: E_i of every member, eV.
        pulls: ∂V/∂r_ij of every member, or their mean alone where no spread of the forces is asked for.
        noise: variances, eV² and (eV/Å)².
        slope_of_spread: whether ∂σ_V/∂r is computed where there is a spread of the forces.
    """
    energies = sum_atoms_to_structures(atomic_energies.T, graph.owner, graph.n_structures)
    forces, stress = forces_and_stress(graph, edges, mean_of_members(pulls))
    by_member = _forces(edges, pulls.transpose(0, 1)) if len(pulls) > 1 else None
    nothing, of_no_atom = torch.full_like(energies[:, 0], torch.nan), torch.full_like(forces, torch.nan)
    return Prediction(
        energy=energies.mean(1),
        forces=forces,
        stress=stress,
        atomic_energies=mean_of_members(atomic_energies),
        energy_std=energies.std(1) if energies.shape[1] > 1 else nothing,
        energy_std_slope=of_no_atom if by_member is None or not slope_of_spread else _slope_of_spread(energies, by_member, graph),
        forces_std=of_no_atom if by_member is None else by_member.std(1),
        energy_noise=sum_atoms_to_structures(noise[:, 0].double(), graph.owner, graph.n_structures).sqrt(),
        forces_noise=noise[:, 1:].sqrt().to(forces.dtype).expand_as(forces),
    )


def _slope_of_spread(
    energies: Float[Tensor, "structure member"], forces: Float[Tensor, "atom member 3"], graph: AtomicGraph
) -> Float[Tensor, "atom 3"]:
    """∂σ_V/∂r; zero where the members agree."""
    away = energies - energies.mean(1, keepdim=True)
    unit = away / torch.linalg.vector_norm(away, dim=1, keepdim=True).clamp_min(torch.finfo(away.dtype).tiny)
    weights = (unit / math.sqrt(energies.shape[1] - 1)).to(forces.dtype)  # (V_m − V) / ((M − 1) σ_V)
    slope: Tensor = (weights[graph.owner][:, :, None] * forces).sum(1)
    return -slope


def mean_of_members(values: Float[Tensor, "member ..."]) -> Float[Tensor, "..."]:
    """Their mean; one alone is not copied."""
    return values[0] if len(values) == 1 else values.mean(0)


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
    if pair_loops.can_be_used(len(pull), pull):
        forces = pair_loops.forces_of_pulls(pull.reshape(len(pull), -1, 3), (edges.center, edges.neighbor), edges.n_atoms)
        return forces.view(edges.n_atoms, *pull.shape[1:])
    return sum_edges_to_atoms(pull, edges.center, edges.n_atoms) - sum_edges_to_atoms(pull, edges.neighbor, edges.n_atoms)


def _virial(graph: AtomicGraph, edges: Edges, pull: Float[Tensor, "edge 3"]) -> Float[Tensor, "structure 3 3"]:
    """Σ_ij r_ij ⊗ pull_ij of every structure; of a single one as one matrix product."""
    if graph.n_structures == 1:
        return (edges.vector.mT @ pull)[None]
    of_atoms = sum_edges_to_atoms(edges.vector[:, :, None] * pull[:, None, :], edges.center, edges.n_atoms)
    return sum_atoms_to_structures(of_atoms, graph.owner, graph.n_structures)
