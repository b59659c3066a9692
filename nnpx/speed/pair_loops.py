"""The loops over the pairs of structures: from positions to vectors, and from what pulls at these to forces; for evaluation on a processor.

As operations of torch vectors are gathered, moved and measured in turn, and forces are added up twice; here every pair is read once. There
are no derivatives.
"""

from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import forward_ad

from nnpx.speed.compiled import arrays, may_use_loops, operation
from nnpx.speed.loops import Loop

#: so many pairs are worth calling a loop
_FEWEST: Final = 1000
#: what loops are compiled for: all that one reads has the same
_PRECISIONS: Final = ({torch.float32}, {torch.float64})

#: (pair,), (pair,): centre i and neighbour j
_Pairs = tuple[np.ndarray, np.ndarray]
#: (pair, 3), (structure, 3, 3), (atom,): images S in units of the cells, the cells, and whose each atom is
_Images = tuple[np.ndarray, np.ndarray, np.ndarray]


def can_be_used(n_pairs: int, *read: Tensor) -> bool:
    """Whether loops over so many pairs are faster than torch, and may read these: on a processor, and nobody differentiates by them."""
    if n_pairs < _FEWEST or not may_use_loops() or torch._C._are_functorch_transforms_active():
        return False
    are_plain = all(one.device.type == "cpu" and not _is_differentiated(one) for one in read)
    return are_plain and {one.dtype for one in read} in _PRECISIONS


def _is_differentiated(tensor: Tensor) -> bool:
    """Backward or forward."""
    return tensor.requires_grad or forward_ad.unpack_dual(tensor).tangent is not None


def vectors_of_pairs(
    positions: Float[Tensor, "atom 3"],
    pairs: tuple[Int[Tensor, " edge"], Int[Tensor, " edge"]],
    images: tuple[Float[Tensor, "edge 3"], Float[Tensor, "structure 3 3"], Int[Tensor, " atom"]],
) -> tuple[Float[Tensor, "edge 3"], Float[Tensor, " edge"]]:
    """r_ij = r_j + S·cell − r_i and |r_ij|, Å.

    Args:
        positions: r, Å.
        pairs: i and j.
        images: S in units of the cells, the cells (Å), and whose each atom is.
    """
    vectors, distances = _VECTORS(positions, list(pairs), list(images))
    return vectors, distances


def forces_of_pulls(
    pulls: Float[Tensor, "edge member 3"], pairs: tuple[Int[Tensor, " edge"], Int[Tensor, " edge"]], n_atoms: int
) -> Float[Tensor, "atom member 3"]:
    """F_i = Σ_j (pull_ij − pull_ji), eV/Å, with pull_ij = ∂V/∂r_ij."""
    forces: Tensor = _FORCES(pulls, list(pairs), n_atoms)
    return forces


@Loop
def _connect(vectors: np.ndarray, distances: np.ndarray, positions: np.ndarray, pairs: _Pairs, images: _Images) -> None:
    """The vector and distance of every pair; indices that cannot be negative need no look whether they are."""
    (center, neighbor), (shift, cell, owner) = pairs, images
    for pair in range(len(vectors)):
        i, j = np.uint64(center[pair]), np.uint64(neighbor[pair])
        own, u, v, w = np.uint64(owner[i]), shift[pair, 0], shift[pair, 1], shift[pair, 2]
        x = (positions[j, 0] - positions[i, 0]) + (u * cell[own, 0, 0] + v * cell[own, 1, 0] + w * cell[own, 2, 0])
        y = (positions[j, 1] - positions[i, 1]) + (u * cell[own, 0, 1] + v * cell[own, 1, 1] + w * cell[own, 2, 1])
        z = (positions[j, 2] - positions[i, 2]) + (u * cell[own, 0, 2] + v * cell[own, 1, 2] + w * cell[own, 2, 2])
        vectors[pair, 0], vectors[pair, 1], vectors[pair, 2] = x, y, z
        distances[pair] = np.sqrt(x * x + y * y + z * z)


@Loop
def _add_up(forces: np.ndarray, pulls: np.ndarray, pairs: _Pairs) -> None:
    """Both ends of every pair; of centres one after the other the sum is kept at hand."""
    center, neighbor = pairs
    forces[:] = 0.0
    for member in range(pulls.shape[1]):
        own, x, y, z = np.uint64(0), forces.dtype.type(0), forces.dtype.type(0), forces.dtype.type(0)
        for pair in range(len(pulls)):
            i, j = np.uint64(center[pair]), np.uint64(neighbor[pair])
            if i != own:
                forces[own, member, 0] += x
                forces[own, member, 1] += y
                forces[own, member, 2] += z
                own, x, y, z = i, forces.dtype.type(0), forces.dtype.type(0), forces.dtype.type(0)
            a, b, c = pulls[pair, member, 0], pulls[pair, member, 1], pulls[pair, member, 2]
            x, y, z = x + a, y + b, z + c
            forces[j, member, 0] -= a
            forces[j, member, 1] -= b
            forces[j, member, 2] -= c
        forces[own, member, 0] += x
        forces[own, member, 1] += y
        forces[own, member, 2] += z


def _room_for_vectors(positions: Tensor, pairs: list[Tensor], images: list[Tensor]) -> tuple[Tensor, Tensor]:
    n_pairs = len(pairs[0])
    return positions.new_empty(n_pairs, 3), positions.new_empty(n_pairs)


def _room_for_forces(pulls: Tensor, pairs: list[Tensor], n_atoms: int) -> Tensor:
    return pulls.new_empty(n_atoms, *pulls.shape[1:])


def _vectors(positions: Tensor, pairs: list[Tensor], images: list[Tensor]) -> tuple[Tensor, Tensor]:
    vectors, distances = _room_for_vectors(positions, pairs, images)
    _connect(vectors.numpy(), distances.numpy(), positions.contiguous().numpy(), arrays(pairs), arrays(images))
    return vectors, distances


def _forces(pulls: Tensor, pairs: list[Tensor], n_atoms: int) -> Tensor:
    forces = _room_for_forces(pulls, pairs, n_atoms)
    _add_up(forces.numpy(), pulls.contiguous().numpy(), arrays(pairs))
    return forces


_VECTORS: Final = operation(
    "pair_vectors(Tensor positions, Tensor[] pairs, Tensor[] images) -> (Tensor, Tensor)", _vectors, _room_for_vectors
)
_FORCES: Final = operation("pair_forces(Tensor pulls, Tensor[] pairs, int n_atoms) -> Tensor", _forces, _room_for_forces)
