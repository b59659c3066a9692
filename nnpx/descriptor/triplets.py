"""Triplets: the pairs of neighbours that one centre sees, from which angles are made."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.graph import Edges


@dataclass(frozen=True)
class Triplets:
    """Unordered pairs of edges j < k that share a centre i."""

    first: Int[Tensor, " triplet"]  #: index of the edge i → j
    second: Int[Tensor, " triplet"]  #: index of the edge i → k
    center: Int[Tensor, " triplet"]  #: index of atom i


def triplets(edges: Edges) -> Triplets:
    """All unordered pairs of edges with a common centre; edges are sorted by centre, so each centre's are contiguous."""
    n_edges = edges.center.shape[0]
    degree = torch.bincount(edges.center, minlength=edges.n_atoms)
    end = degree.cumsum(0)[edges.center]
    edge = torch.arange(n_edges, device=edges.center.device)
    partners = end - edge - 1
    first = edge.repeat_interleave(partners)
    offset = torch.arange(first.shape[0], device=first.device) - (partners.cumsum(0) - partners)[first]
    return Triplets(first=first, second=first + 1 + offset, center=edges.center[first])


def dot(a: Float[Tensor, "triplet 3"], b: Float[Tensor, "triplet 3"]) -> Float[Tensor, " triplet"]:
    """r_ij · r_ik, from which the angle at i and the distance r_jk follow."""
    return (a * b).sum(-1)
