"""Sums over triplets as operations of torch: on a GPU, where they are joined with others, and where loops are not to be had."""

import copy
from abc import abstractmethod
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.derivatives import with_slope
from nnpx.descriptor import FEW_PAIRS
from nnpx.descriptor.expanding import ExpandingDescriptor
from nnpx.descriptor.triplets import (
    Corners,
    Terms,
    Triplets,
    add_to_edges,
    by_factors,
    chunks,
    corners,
    sum_by_channel,
    third_side,
    triplets,
    weighted,
)
from nnpx.errors import ConfigError
from nnpx.graph import Edges
from nnpx.memory import refuse_beyond_memory

#: rows of triplets whose derivatives are in memory together, by device: on a processor few enough for its cache, elsewhere many
CHUNKS_AT_A_TIME: Final = {"cpu": 2048}
ELSEWHERE: Final = 262144


class ListedTriplets(ExpandingDescriptor):
    """A descriptor that lists the triplets of its atoms, with two factors of each and their slopes.

    Args:
        n_channels: length of the species vector.
        pairs: p and q of every pair of channels that has angular functions, p ≤ q, in the order of the upper triangle.
        angular_radius: radius within which angles are resolved, Å.
        cutoff: f_c; the same function with `angular_radius` in place of its radius is `angular_cutoff`.
        third_side: whether a triplet counts only where j and k are within the angular radius of each other, too.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff.
    """

    channel_p: Tensor
    channel_q: Tensor
    places: Tensor  # of every two channels p ≤ q among the pairs, or −1

    def __init__(self, *, n_channels: int, pairs: Int[Tensor, "2 pair"], angular_radius: float, cutoff: Cutoff, third_side: bool) -> None:
        super().__init__()
        self.n_channels, self.third_side = n_channels, third_side
        self.cutoff, self.angular_cutoff = cutoff, angular_cutoff(cutoff, angular_radius)
        p, q = pairs
        places = torch.full((n_channels, n_channels), -1).index_put((p, q), torch.arange(len(p)))
        for name, values in {"channel_p": p, "channel_q": q, "places": places}.items():
            self.register_buffer(name, values.clone(), persistent=False)

    @abstractmethod
    def factors(self, at: Corners) -> tuple[Float[Tensor, "triplet left"], Float[Tensor, "triplet right"]]:
        """What two neighbours add, as two factors; `right` is a function of the angle at the centre alone."""

    @abstractmethod
    def slopes(
        self, at: Corners, slope_ij: Float[Tensor, " triplet"], slope_ik: Float[Tensor, " triplet"]
    ) -> tuple[Float[Tensor, "triplet 3 left"], Float[Tensor, "triplet right"]]:
        """The derivatives of the factors: of `left` in r_ij, r_ik and r_ij·r_ik, of `right` in the cosine of the angle.

        Args:
            at: the triplets.
            slope_ij: f_c′(r_ij), Å⁻¹.
            slope_ik: f_c′(r_ik), Å⁻¹.
        """

    @final
    def weighted_triplets(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> tuple[Triplets, Float[Tensor, "triplet pair"]]:
        """The triplets within the angular radius, and e_j^p e_k^q for p ≤ q, symmetric under the exchange of j and k.

        Where every species vector has one channel only, as with `onehot`, a triplet counts for one pair of channels: it belongs to the
        centre with this pair, and has one weight. Otherwise it belongs to the centre, and has a weight for every pair.
        """
        apart = are_apart(chemistry)
        kind = chemistry.abs().argmax(1)[edges.neighbor] if apart else torch.zeros_like(edges.neighbor)
        three = triplets(edges, self.angular_cutoff.radius, kind, self.n_channels if apart else 1)
        if self.third_side and not edges.complete:
            three = three.where((third_side(edges, three) < self.angular_cutoff.radius).nonzero()[:, 0])
        if apart:
            three = three.with_pairs(self.places[torch.triu_indices(*self.places.shape).unbind()], len(self.channel_p))
        if apart:
            e = chemistry.sum(1)[edges.neighbor]
            return three, (e.index_select(0, three.first) * e.index_select(0, three.second))[:, None]
        e_j, e_k = chemistry[edges.neighbor[three.first]], chemistry[edges.neighbor[three.second]]
        p, q = self.channel_p, self.channel_q
        both = e_j[:, p] * e_k[:, q]
        return three, torch.where(p == q, both, both + e_j[:, q] * e_k[:, p])

    def terms(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Terms:
        """What is summed over the triplets."""
        self.refuse_triplets_beyond_memory(edges, 20.0)
        three, weights = self.weighted_triplets(edges, chemistry)
        layout = chunks(three, weights.dtype)
        three, weights = three.where(layout.place), weights.index_select(0, layout.place) * layout.counts[:, None]
        left, right = self.factors(corners(edges, three, self.angular_cutoff(edges.distance)))
        return Terms(three, weights, weighted(left, weights), right, layout, left.shape[1] * right.shape[1])

    @torch.no_grad()
    def pull_of_triplets(
        self, by_sums: Float[Tensor, "energy owner left right"], edges: Edges, terms: Terms
    ) -> Float[Tensor, "energy edge 3"]:
        """From the derivatives of energies in the sums over triplets to those in the vectors of the edges."""
        pulls = edges.vector.new_zeros(len(edges.center), len(by_sums), 3)
        f, slope = with_slope(self.angular_cutoff, edges.distance)
        for some in terms.split(CHUNKS_AT_A_TIME.get(edges.vector.device.type, ELSEWHERE)):
            of_left, of_right = self.slopes_by_sides(edges, some.three, f, slope)
            by_left, by_right = by_factors(by_sums, some.left, some.right, some.layout)
            by_sides = torch.baddbmm(by_left @ weighted(of_left, some.weights).mT, by_right, of_right.mT)
            add_to_edges(pulls, by_sides, edges, some.three)
        return pulls.transpose(0, 1)

    def slopes_by_sides(
        self, edges: Edges, three: Triplets, f: Float[Tensor, " edge"], slope: Float[Tensor, " edge"]
    ) -> tuple[Float[Tensor, "triplet 3 left"], Float[Tensor, "triplet 3 right"]]:
        """The derivatives of both factors in r_ij, r_ik and r_ij·r_ik, with f_c and f_c′ of the edges; cos θ = r_ij·r_ik / (r_ij r_ik)."""
        at = corners(edges, three, f)
        of_left, by_cosine = self.slopes(at, slope.index_select(0, three.first), slope.index_select(0, three.second))
        per_area = 1.0 / (at.r_ij * at.r_ik)
        cosine = at.scalar * per_area
        return of_left, torch.stack([by_cosine * change[:, None] for change in (-cosine / at.r_ij, -cosine / at.r_ik, per_area)], 1)

    def angular_jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 pair left right"]:
        """The derivatives of the sums over triplets in r_ij of every edge, by the chain rule."""
        self.refuse_triplets_beyond_memory(edges, 200.0)
        n_edges, unit = len(edges.center), edges.vector / edges.distance[:, None]
        three, weights = self.weighted_triplets(edges, chemistry)
        if weights.shape[1] < len(self.channel_p):
            pair = (three.owner % len(self.channel_p))[:, None]
            weights = weights.new_zeros(len(pair), len(self.channel_p)).scatter(1, pair, weights)
        a, b = edges.vector[three.first], edges.vector[three.second]
        f, falls = with_slope(self.angular_cutoff, edges.distance)
        left, right = self.factors(corners(edges, three, f))
        of_left, of_right = self.slopes_by_sides(edges, three, f, falls)
        terms = of_left[:, :, :, None] * right[:, None, None, :] + left[:, None, :, None] * of_right[:, :, None, :]
        by_r_ij, by_r_ik, by_dot = terms.flatten(2)[:, :, None, :].unbind(1)
        by_first = by_r_ij * unit[three.first, :, None] + by_dot * b[:, :, None]
        by_second = by_r_ik * unit[three.second, :, None] + by_dot * a[:, :, None]
        by_pair = sum_by_channel(by_first, weights, three.first, n_edges) + sum_by_channel(by_second, weights, three.second, n_edges)
        angular: Tensor = by_pair.transpose(1, 2).unflatten(3, (left.shape[1], right.shape[1]))
        return angular

    def refuse_triplets_beyond_memory(self, edges: Edges, each: float) -> None:
        """Triplets that do not fit into memory are not listed; each takes so many numbers: indices, factors, weights and slopes.

        Raises:
            OutOfMemoryError: they do not fit.
        """
        if len(edges.center) <= FEW_PAIRS or edges.vector.device.type != "cpu":
            return
        n_near = torch.bincount(edges.center.index_select(0, edges.near(self.angular_cutoff.radius)))
        n_triplets = int((n_near * (n_near - 1)).sum()) // 2
        found = f"{n_triplets} triplets of {edges.n_atoms} atoms within {self.angular_cutoff.radius} Å"
        n_bytes = each * n_triplets * edges.vector.element_size()
        refuse_beyond_memory(n_bytes, "descriptor.angular_radius", expected="triplets that fit into", found=found)


def are_apart(chemistry: Float[Tensor, "_ channel"]) -> bool:
    """Whether every vector is fixed and has one channel only, as with `onehot`."""
    return not chemistry.requires_grad and bool(((chemistry != 0).sum(1) <= 1).all())


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
