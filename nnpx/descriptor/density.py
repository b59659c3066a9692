"""The expanded neighbour density of every atom, at a cost that is linear in the neighbours."""

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.graph import Edges


def sum_of_outer_products(
    left: Float[Tensor, "edge left"], right: Float[Tensor, "edge right"], edges: Edges
) -> Float[Tensor, "atom left right"]:
    """Σ_j left_ij ⊗ right_ij of every centre: one matrix product per atom over its neighbours, filled up with zeros to equal numbers."""
    degree = torch.bincount(edges.center, minlength=edges.n_atoms)
    n_slots = int(degree.max()) if len(edges.center) else 0
    slot = torch.arange(len(edges.center), device=degree.device) - (degree.cumsum(0) - degree)[edges.center]
    place = edges.center * n_slots + slot
    padded = [
        part.new_zeros(edges.n_atoms * n_slots, part.shape[1]).index_copy(0, place, part).view(edges.n_atoms, n_slots, part.shape[1])
        for part in (left, right)
    ]
    return torch.bmm(padded[0].mT, padded[1])


def by_center(
    chemistry: Float[Tensor, "atom channel"], coefficients: Float[Tensor, "channel term density"]
) -> Float[Tensor, "atom term density"]:
    """Coefficients of radial functions as each centre uses them, Σ_c e_i^c C^c: with one channel per element, those of its element."""
    return (chemistry @ coefficients.flatten(1)).view(-1, *coefficients.shape[1:])
