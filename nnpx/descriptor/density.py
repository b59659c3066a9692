"""The expanded neighbour density of every atom, at a cost that is linear in the neighbours."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.graph import Edges


def slots(edges: Edges, radius: float) -> Edges:
    """The edges shorter than the radius (Å), filled up so that every centre has equally many.

    An edge that fills up leads from a centre to itself over twice the radius, where every cutoff function is zero: it adds nothing to any
    sum over neighbours. In this layout such a sum is a matrix product of consecutive rows, see `sum_of_outer_products`. Edges that
    have been filled up stay as they are.
    """
    if edges.filled:
        return edges
    inside = edges.within(radius)
    degree = torch.bincount(inside.center, minlength=edges.n_atoms)
    n_slots = int(degree.max()) if len(inside.center) else 0
    if n_slots * edges.n_atoms == len(inside.center):
        return inside
    slot = torch.arange(len(inside.center), device=degree.device) - (degree.cumsum(0) - degree)[inside.center]
    place = inside.center * n_slots + slot
    center = torch.arange(edges.n_atoms, device=degree.device).repeat_interleave(n_slots)
    nowhere = inside.vector.new_full((len(center), 3), 2.0 * radius / 3.0**0.5)
    neighbor = center.index_copy(0, place, inside.neighbor)
    shift = inside.shift.new_zeros(len(center), 3).index_copy(0, place, inside.shift)
    vector, distance = (
        nowhere.index_copy(0, place, inside.vector),
        nowhere.new_full((len(center),), 2.0 * radius).index_copy(0, place, inside.distance),
    )
    return Edges(center=center, neighbor=neighbor, shift=shift, vector=vector, distance=distance, n_atoms=edges.n_atoms)


def reverse(edges: Edges) -> Int[Tensor, " edge"]:
    """The place where each pair stands as its neighbour sees it.

    Any place, if it is listed from one end only, as rounding has it at the very cutoff: what is read there is multiplied by f_c = 0.

    Pairs are numbered by their atoms and the last bits of S, as many as are left: 13 in each direction for 1,000 atoms, 7 for a million.
    """
    bits = (62 - 2 * edges.n_atoms.bit_length()) // 3

    def numbered(center: Tensor, neighbor: Tensor, shift: Tensor) -> Tensor:
        number = center * edges.n_atoms + neighbor
        for component in (shift.long() & (2**bits - 1)).unbind(1):
            number = (number << bits) | component
        return number

    seen = numbered(edges.center, edges.neighbor, edges.shift)
    order = seen.argsort()
    turned = numbered(edges.neighbor, edges.center, -edges.shift)
    return order[torch.searchsorted(seen[order], turned).clamp_max(len(order) - 1)]


def sum_of_outer_products(
    left: Float[Tensor, "slot left"], right: Float[Tensor, "slot right"], n_atoms: int
) -> Float[Tensor, "atom left right"]:
    """Σ_j left_ij ⊗ right_ij over the `slots` of every centre."""
    n_slots = len(left) // n_atoms
    return torch.bmm(left.view(n_atoms, n_slots, left.shape[1]).mT, right.view(n_atoms, n_slots, right.shape[1]))


def by_center(
    chemistry: Float[Tensor, "atom channel"], coefficients: Float[Tensor, "channel term density"]
) -> Float[Tensor, "atom term density"]:
    """Coefficients of radial functions as each centre uses them, Σ_c e_i^c C^c: with one channel per element, those of its element."""
    return (chemistry @ coefficients.flatten(1)).view(-1, *coefficients.shape[1:])
