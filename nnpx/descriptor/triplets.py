"""Triplets: the pairs of neighbours that one centre sees, from which angles are made, and sums over them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.graph import Edges
from nnpx.reduce import sum_edges_to_atoms

#: triplets that one small matrix product adds up; owners with fewer waste the rest, owners with more take several
CHUNK: Final = 4


@dataclass(frozen=True)
class Triplets:
    """Unordered pairs of edges j < k that share a centre i, sorted by owner.

    The kind of an edge is what distinguishes neighbours without mixing them, such as their element. An owner is a centre together with an
    unordered pair of kinds, numbered i · n_pairs + (place of the pair in the upper triangle).
    """

    first: Int[Tensor, " triplet"]  #: index of the edge i → j
    second: Int[Tensor, " triplet"]  #: index of the edge i → k; its kind is not below that of the first
    owner: Int[Tensor, " triplet"]  #: index of the owner
    n_owners: int  #: n_atoms · n_pairs

    def where(self, chosen: Int[Tensor, " chosen"]) -> "Triplets":
        """The triplets at the chosen places."""
        return Triplets(
            self.first.index_select(0, chosen), self.second.index_select(0, chosen), self.owner.index_select(0, chosen), self.n_owners
        )

    def with_pairs(self, place: Int[Tensor, " pair"], n_pairs: int) -> "Triplets":
        """The triplets of some pairs of kinds, whose owners are numbered by the new places of the pairs; −1 leaves a pair out."""
        if len(place) == n_pairs:
            return self
        new = place[self.owner % len(place)]
        kept = (new >= 0).nonzero()[:, 0]
        owner = self.owner // len(place) * n_pairs + new
        return Triplets(self.first[kept], self.second[kept], owner[kept], self.n_owners // len(place) * n_pairs)


def triplets(edges: Edges, radius: float, kind: Int[Tensor, " edge"], n_kinds: int) -> Triplets:
    """All triplets of edges that are shorter than the radius (Å); the edges are sorted by centre.

    Each edge j of kind a has one row for every kind b: its partners are the whole run of edges of kind b, or what follows j in its own run,
    or nothing where b < a. Rows are laid out by centre, a, b and j, so that the triplets need no sorting.
    """
    near = edges.near(radius)
    run = edges.center[near] * n_kinds + kind[near]
    order = torch.argsort(run, stable=True) if n_kinds > 1 else torch.arange(len(run), device=run.device)
    near, run = near[order], run[order]
    size = torch.bincount(run, minlength=edges.n_atoms * n_kinds)
    start = size.cumsum(0) - size
    edge, b = torch.arange(len(run), device=run.device)[:, None], torch.arange(n_kinds, device=run.device)
    a, own, other = (run % n_kinds)[:, None], run[:, None], (run - run % n_kinds)[:, None] + b
    begin = torch.where(b > a, start[other], edge + 1)
    partners = torch.where(b > a, size[other], torch.where(b == a, start[own] + size[own] - edge - 1, 0))
    n_pairs = n_kinds * (n_kinds + 1) // 2
    owner = (run // n_kinds * n_pairs)[:, None] + triangular(a, b, n_kinds)
    row = torch.empty(len(run) * n_kinds, dtype=torch.long, device=run.device)
    row[(start[own] * n_kinds + b * size[own] + edge - start[own]).flatten()] = torch.arange(len(row), device=run.device)
    begin, partners, owner = begin.flatten()[row], partners.flatten()[row], owner.flatten()[row]
    which = torch.arange(len(row), device=run.device).repeat_interleave(partners)
    second = begin[which] + torch.arange(len(which), device=run.device) - (partners.cumsum(0) - partners)[which]
    return Triplets(near[(row // n_kinds)[which]], near[second], owner[which], edges.n_atoms * n_pairs)


def triangular(p: Int[Tensor, "..."], q: Int[Tensor, "..."], n: int) -> Int[Tensor, "..."]:
    """The place of (p, q), p ≤ q < n, in the upper triangle."""
    return p * n - p * (p - 1) // 2 + q - p


@dataclass(frozen=True)
class Corners:
    """What triplets look like from their centre."""

    r_ij: Float[Tensor, " triplet"]  #: Å
    r_ik: Float[Tensor, " triplet"]  #: Å
    scalar: Float[Tensor, " triplet"]  #: r_ij · r_ik, Å², from which the angle at i and the distance r_jk follow
    f_ij: Float[Tensor, " triplet"]  #: f_c(r_ij)
    f_ik: Float[Tensor, " triplet"]  #: f_c(r_ik)


def corners(edges: Edges, three: Triplets, f: Float[Tensor, " edge"]) -> Corners:
    """The corners of the triplets, from the edges and their f_c."""
    lines = torch.cat([edges.vector, edges.distance[:, None], f[:, None]], 1)
    a, b = lines.index_select(0, three.first), lines.index_select(0, three.second)
    return Corners(r_ij=a[:, 3], r_ik=b[:, 3], scalar=(a[:, :3] * b[:, :3]).sum(1), f_ij=a[:, 4], f_ik=b[:, 4])


@dataclass(frozen=True)
class Chunks:
    """Triplets laid out in rows of `CHUNK` places, each row of one owner; places that are left over repeat a triplet and do not count."""

    place: Int[Tensor, " place"]  #: index of the triplet
    counts: Float[Tensor, " place"]  #: 1, or 0 where nothing is left
    owner: Int[Tensor, " chunk"]  #: whose row this is
    n_owners: int


def chunks(three: Triplets, dtype: torch.dtype) -> Chunks:
    """The layout in which `sum_over_triplets` adds up."""
    count = torch.bincount(three.owner, minlength=three.n_owners)
    n_rows = (count + CHUNK - 1) // CHUNK
    owner = torch.arange(three.n_owners, device=count.device).repeat_interleave(n_rows)
    row_in_owner = torch.arange(len(owner), device=count.device) - (n_rows.cumsum(0) - n_rows)[owner]
    within = (row_in_owner[:, None] * CHUNK + torch.arange(CHUNK, device=count.device)).flatten()
    left = count[owner].repeat_interleave(CHUNK)
    place = (count.cumsum(0) - count)[owner].repeat_interleave(CHUNK) + torch.minimum(within, left - 1)
    return Chunks(place, (within < left).to(dtype), owner, three.n_owners)


def sum_over_triplets(
    left: Float[Tensor, "place left"], right: Float[Tensor, "place right"], layout: Chunks
) -> Float[Tensor, "owner left right"]:
    """Σ left ⊗ right over the triplets of every owner; `left` is zero at the places that do not count."""
    products = torch.bmm(left.view(len(layout.owner), CHUNK, left.shape[1]).mT, right.view(len(layout.owner), CHUNK, right.shape[1]))
    return sum_edges_to_atoms(products, layout.owner, layout.n_owners)


@dataclass(frozen=True)
class Terms:
    """What is summed over the triplets, at the places of the sum: left ⊗ right."""

    three: Triplets
    weights: Float[Tensor, "place pair"]  #: of each pair of channels
    left: Float[Tensor, "place left"]  #: for every pair of channels, with its weight
    right: Float[Tensor, "place right"]
    layout: Chunks
    n_combinations: int  #: of a left and a right factor within a pair of channels

    def sums(self) -> Float[Tensor, "owner left right"]:
        """Σ left ⊗ right."""
        return sum_over_triplets(self.left, self.right, self.layout)

    def split(self, n_chunks: int) -> Iterator["Terms"]:
        """The same in portions of so many chunks."""
        for chunk in range(0, len(self.layout.owner), n_chunks):
            place = slice(chunk * CHUNK, (chunk + n_chunks) * CHUNK)
            layout = Chunks(
                self.layout.place[place], self.layout.counts[place], self.layout.owner[chunk : chunk + n_chunks], self.layout.n_owners
            )
            three = Triplets(self.three.first[place], self.three.second[place], self.three.owner[place], self.three.n_owners)
            yield Terms(three, self.weights[place], self.left[place], self.right[place], layout, self.n_combinations)


def weighted(
    factor: Float[Tensor, "place *variable left"], weights: Float[Tensor, "place pair"]
) -> Float[Tensor, "place *variable pair_left"]:
    """The factor, times the weight of every pair of channels."""
    weights = weights.view(len(weights), *[1] * (factor.dim() - 2), weights.shape[1], 1)
    return (weights * factor[..., None, :]).flatten(-2)


def by_factors(
    by_sums: Float[Tensor, "energy owner left right"],
    left: Float[Tensor, "place left"],
    right: Float[Tensor, "place right"],
    layout: Chunks,
) -> tuple[Float[Tensor, "place energy left"], Float[Tensor, "place energy right"]]:
    """From the derivatives of energies in the sums over triplets to those in the factors: the adjoint of `sum_over_triplets`.

    Several energies are several columns of the same small matrix products.
    """
    n_energies, _, n_left, n_right = by_sums.shape
    for_left = by_sums.permute(1, 0, 2, 3).flatten(1, 2).index_select(0, layout.owner)
    for_right = by_sums.permute(1, 0, 3, 2).flatten(1, 2).index_select(0, layout.owner)
    by_left = torch.bmm(right.view(len(layout.owner), CHUNK, n_right), for_left.mT)
    by_right = torch.bmm(left.view(len(layout.owner), CHUNK, n_left), for_right.mT)
    return by_left.view(len(left), n_energies, n_left), by_right.view(len(left), n_energies, n_right)


def add_to_edges(pulls: Float[Tensor, "edge energy 3"], by_sides: Float[Tensor, "triplet energy 3"], edges: Edges, three: Triplets) -> None:
    """Add to ∂V_m/∂r_ij of the edges what follows from the derivatives of V_m in r_ij, r_ik and r_ij·r_ik of every triplet."""
    by_r_ij, by_r_ik, by_dot = by_sides.split(1, dim=2)
    unit = edges.vector / edges.distance[:, None]
    for edge, other, by_distance in ((three.first, three.second, by_r_ij), (three.second, three.first, by_r_ik)):
        along, across = unit.index_select(0, edge), edges.vector.index_select(0, other)
        pulls.index_add_(0, edge, torch.addcmul(by_dot * across[:, None], by_distance, along[:, None]))


def third_side(edges: Edges, three: Triplets) -> Float[Tensor, " triplet"]:
    """r_jk (Å), cut off from gradients."""
    vector = edges.vector.detach()
    distance: Tensor = torch.linalg.vector_norm(vector.index_select(0, three.first) - vector.index_select(0, three.second), dim=1)
    return distance


def sum_by_channel(
    values: Float[Tensor, "row ..."], weights: Float[Tensor, "row channel"], owner: Int[Tensor, " row"], n_owners: int
) -> Float[Tensor, "owner channel ..."]:
    """Σ over the rows of each owner of weight × value, for every channel.

    Products with a weight of zero are left out where the weights are fixed: of a one-hot embedding's pairs, one in many counts.
    """
    n_channels = weights.shape[1]
    if weights.requires_grad:
        row = torch.arange(weights.shape[0], device=weights.device).repeat_interleave(n_channels)
        channel = torch.arange(n_channels, device=weights.device).repeat(weights.shape[0])
    else:
        row, channel = weights.nonzero(as_tuple=True)
    weight = weights[row, channel].reshape(-1, *[1] * (values.dim() - 1))
    total = sum_edges_to_atoms(values[row] * weight, owner[row] * n_channels + channel, n_owners * n_channels)
    return total.reshape(n_owners, n_channels, *values.shape[1:])
