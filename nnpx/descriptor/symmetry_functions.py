"""Symmetry functions: sums over one and over two neighbours, resolved by channel."""

import copy
from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.triplets import Triplets, dot, triplets
from nnpx.errors import ConfigError
from nnpx.graph import Edges
from nnpx.reduce import sum_edges_to_atoms


class SymmetryFunctions(Descriptor, ABC):
    """One radial block per channel and one angular block per pair of channels of the neighbours.

        radial_i  = Σ_j     e_j^q shells(r_ij)
        angular_i = Σ_{j<k} (e_j^p e_k^q + e_j^q e_k^p) terms(r_ij, r_ik, r_ij·r_ik),   p < q;  e_j^p e_k^p for p = q

    A subclass says what a shell and a term are.

    Args:
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å.
        cutoff: f_c; the same function with `angular_radius` in place of its radius is `angular_cutoff`.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff.
    """

    channel_p: Tensor
    channel_q: Tensor

    def __init__(self, *, n_channels: int, angular_radius: float, cutoff: Cutoff) -> None:
        super().__init__()
        self.n_channels, self.cutoff, self.angular_cutoff = n_channels, cutoff, angular_cutoff(cutoff, angular_radius)
        p, q = torch.triu_indices(n_channels, n_channels)
        self.register_buffer("channel_p", p, persistent=False)
        self.register_buffer("channel_q", q, persistent=False)

    @abstractmethod
    def shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """What one neighbour adds."""

    @abstractmethod
    def terms(
        self, r_ij: Float[Tensor, " triplet"], r_ik: Float[Tensor, " triplet"], scalar: Float[Tensor, " triplet"]
    ) -> Float[Tensor, "triplet feature"]:
        """What two neighbours add, from r_ij, r_ik and r_ij·r_ik."""

    @final  # type: ignore[misc]  # for torch `forward` is an attribute
    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The radial functions of every channel, then the angular ones of every pair of channels."""
        shells = self.shells(edges.distance)
        radial = sum_by_channel(shells, chemistry[edges.neighbor], edges.center, edges.n_atoms)
        near = edges.within(self.angular_cutoff.radius)
        three = triplets(near)
        terms = self.terms(
            near.distance[three.first], near.distance[three.second], dot(near.vector[three.first], near.vector[three.second])
        )
        angular = sum_by_channel(terms, self.pair_weights(near, three, chemistry), three.center, edges.n_atoms)
        return torch.cat([radial.flatten(1), angular.flatten(1)], dim=-1)

    @final
    def pair_weights(self, edges: Edges, three: Triplets, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "triplet pair"]:
        """e_j^p e_k^q for p ≤ q, symmetric under the exchange of j and k."""
        e_j, e_k = chemistry[edges.neighbor[three.first]], chemistry[edges.neighbor[three.second]]
        p, q = self.channel_p, self.channel_q
        both = e_j[:, p] * e_k[:, q]
        return torch.where(p == q, both, both + e_j[:, q] * e_k[:, p])

    @final
    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge, by forward differentiation of the elementwise terms and the chain rule to the vectors."""
        n_edges = len(edges.center)
        unit = edges.vector / edges.distance[:, None]
        slope = jvp(self.shells, (edges.distance,), (torch.ones_like(edges.distance),))[1]
        own = torch.arange(n_edges, device=edges.center.device)
        radial = sum_by_channel(slope[:, None, :] * unit[:, :, None], chemistry[edges.neighbor], own, n_edges)
        is_near = edges.distance < self.angular_cutoff.radius
        near, inner = is_near.nonzero()[:, 0], edges.where(is_near)
        three = triplets(inner)
        weights = self.pair_weights(inner, three, chemistry)
        a, b = inner.vector[three.first], inner.vector[three.second]
        at = (inner.distance[three.first], inner.distance[three.second], dot(a, b))
        one, none = torch.ones_like(at[0]), torch.zeros_like(at[0])
        by_r_ij, by_r_ik, by_dot = (
            jvp(self.terms, at, along)[1][:, None, :] for along in ((one, none, none), (none, one, none), (none, none, one))
        )
        by_first = by_r_ij * (a / at[0][:, None])[:, :, None] + by_dot * b[:, :, None]
        by_second = by_r_ik * (b / at[1][:, None])[:, :, None] + by_dot * a[:, :, None]
        angular = sum_by_channel(by_first, weights, near[three.first], n_edges) + sum_by_channel(
            by_second, weights, near[three.second], n_edges
        )
        return torch.cat([part.transpose(1, 2).flatten(2) for part in (radial, angular)], dim=-1)


def angular_cutoff(cutoff: Cutoff, angular_radius: float) -> Cutoff:
    """The same cutoff function with the radius within which angles are resolved (Å).

    Raises:
        ConfigError: it is larger than that of the cutoff, so that the neighbours would not be listed.
    """
    if angular_radius > cutoff.radius:
        raise ConfigError(
            "descriptor.angular_radius",
            expected=f"at most cutoff.radius = {cutoff.radius} Å",
            found=f"{angular_radius} Å",
            do="Lower descriptor.angular_radius or raise cutoff.radius.",
        )
    inner = copy.deepcopy(cutoff)
    inner.radius = angular_radius
    return inner


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
