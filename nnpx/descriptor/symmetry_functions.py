"""Symmetry functions: sums over one and over two neighbours, resolved by channel."""

import copy
from abc import ABC, abstractmethod
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.derivatives import forward_derivative, gradients_of, with_slope
from nnpx.descriptor import Descriptor, Pull
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.triplets import (
    Corners,
    Terms,
    Triplets,
    add_to_edges,
    by_factors,
    chunks,
    corners,
    triangular,
    triplets,
    weighted,
)
from nnpx.errors import ConfigError
from nnpx.graph import Edges
from nnpx.reduce import sum_edges_to_atoms

#: rows of triplets whose derivatives are in memory together, by device: on a processor few enough for its cache, elsewhere many
CHUNKS_AT_A_TIME: Final = {"cpu": 2048}
ELSEWHERE: Final = 262144


class SymmetryFunctions(Descriptor, ABC):
    """One radial block per channel and one angular block per pair of channels of the neighbours.

        radial_i  = Σ_j     e_j^q shells(r_ij)
        angular_i = Σ_{j<k} (e_j^p e_k^q + e_j^q e_k^p) left ⊗ right (r_ij, r_ik, r_ij·r_ik),   p < q;  e_j^p e_k^p for p = q

    A subclass says what a shell is and what the two factors of an angular function are. The sum of their outer products over the triplets
    is one of small matrix products: a function of its own for every combination costs nothing per triplet.

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
    place_of_pair: Tensor
    most_complete = 24  # of which all triplets are listed

    def __init__(self, *, n_channels: int, pairs: Int[Tensor, "2 pair"], angular_radius: float, cutoff: Cutoff, third_side: bool) -> None:
        super().__init__()
        self.n_channels, self.third_side = n_channels, third_side
        self.cutoff, self.angular_cutoff = cutoff, angular_cutoff(cutoff, angular_radius)
        p, q = pairs
        place = torch.full((n_channels * (n_channels + 1) // 2,), -1).index_copy(0, triangular(p, q, n_channels), torch.arange(len(p)))
        for name, values in {"channel_p": p, "channel_q": q, "place_of_pair": place}.items():
            self.register_buffer(name, values.clone(), persistent=False)

    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """Most of it are triplets, with their indices, factors and weights, and the slopes of every function where these are asked for."""
        within = n_neighbors * (self.angular_cutoff.radius / self.cutoff.radius) ** 3
        return super().memory_per_atom(n_neighbors, derivatives=derivatives) + within**2 / 2.0 * (200.0 if derivatives else 48.0)

    @abstractmethod
    def shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """What one neighbour adds."""

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

    def combinations(self, grid: Float[Tensor, "*row combination"]) -> Float[Tensor, "*row function"]:
        """From all combinations of left and right factors those that are functions."""
        return grid

    def kept(self, features: Float[Tensor, "*row all"]) -> Float[Tensor, "*row feature"]:
        """From the functions of all channels and pairs those that are features."""
        return features

    @final  # type: ignore[misc]  # for torch `forward` is an attribute
    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The radial functions of every channel, then the angular ones of every pair of channels."""
        inside = slots(edges, self.cutoff.radius)
        terms = self._terms(inside, chemistry)
        return self._joined(inside, chemistry, terms.sums(), terms.n_combinations)

    @final
    def linearised(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> tuple[Float[Tensor, "atom feature"], Pull]:
        """The features, and how energies that depend on them pull at the edges.

        Most of the work is in the triplets. One energy is followed back through them by a backward pass; for several it is cheaper to find
        once how their factors move with the sides, which does not depend on the energy, and to multiply with that.
        """
        variables = edges.as_variables()
        with torch.enable_grad():
            terms = self._terms(variables, chemistry)
            sums = terms.sums()
            given = sums.detach().requires_grad_()
            features = self._joined(slots(variables, self.cutoff.radius), chemistry, given, terms.n_combinations)

        def pull(slopes: Float[Tensor, "energy atom feature"]) -> Float[Tensor, "energy edge 3"]:
            of_pairs, by_sums = gradients_of(features, (variables.vector, given), slopes)
            if len(slopes) == 1:
                return of_pairs + gradients_of(sums, (variables.vector,), by_sums)[0]
            return of_pairs + self._pull_of_triplets(by_sums, edges, terms)

        return features.detach(), pull

    @torch.no_grad()
    def _pull_of_triplets(
        self, by_sums: Float[Tensor, "energy owner left right"], edges: Edges, terms: Terms
    ) -> Float[Tensor, "energy edge 3"]:
        """From the derivatives of energies in the sums over triplets to those in the vectors of the edges."""
        pulls = edges.vector.new_zeros(len(edges.center), len(by_sums), 3)
        f, slope = with_slope(self.angular_cutoff, edges.distance)
        for some in terms.split(CHUNKS_AT_A_TIME.get(edges.vector.device.type, ELSEWHERE)):
            of_left, of_right = self._slopes_by_sides(edges, some.three, f, slope)
            by_left, by_right = by_factors(by_sums, some.left, some.right, some.layout)
            by_sides = torch.baddbmm(by_left @ weighted(of_left, some.weights).mT, by_right, of_right.mT)
            add_to_edges(pulls, by_sides, edges, some.three)
        return pulls.transpose(0, 1)

    def _terms(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Terms:
        """What is summed over the triplets."""
        three, weights = self.weighted_triplets(edges, chemistry)
        layout = chunks(three, weights.dtype)
        three, weights = three.where(layout.place), weights.index_select(0, layout.place) * layout.counts[:, None]
        left, right = self.factors(corners(edges, three, self.angular_cutoff(edges.distance)))
        return Terms(three, weights, weighted(left, weights), right, layout, left.shape[1] * right.shape[1])

    def _joined(
        self, inside: Edges, chemistry: Float[Tensor, "atom channel"], sums: Float[Tensor, "owner left right"], n_combinations: int
    ) -> Float[Tensor, "atom feature"]:
        """The features, from the slots and from the sums over triplets."""
        radial = sum_of_outer_products(chemistry.index_select(0, inside.neighbor), self.shells(inside.distance), inside.n_atoms)
        angular = self.combinations(sums.reshape(inside.n_atoms, len(self.channel_p), n_combinations))
        return self.kept(torch.cat([radial.flatten(1), angular.flatten(1)], dim=-1))

    def _slopes_by_sides(
        self, edges: Edges, three: Triplets, f: Float[Tensor, " edge"], slope: Float[Tensor, " edge"]
    ) -> tuple[Float[Tensor, "triplet 3 left"], Float[Tensor, "triplet 3 right"]]:
        """The derivatives of both factors in r_ij, r_ik and r_ij·r_ik, with f_c and f_c′ of the edges; cos θ = r_ij·r_ik / (r_ij r_ik)."""
        at = corners(edges, three, f)
        of_left, by_cosine = self.slopes(at, slope.index_select(0, three.first), slope.index_select(0, three.second))
        per_area = 1.0 / (at.r_ij * at.r_ik)
        cosine = at.scalar * per_area
        return of_left, torch.stack([by_cosine * change[:, None] for change in (-cosine / at.r_ij, -cosine / at.r_ik, per_area)], 1)

    @final
    def weighted_triplets(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> tuple[Triplets, Float[Tensor, "triplet pair"]]:
        """The triplets within the angular radius, and e_j^p e_k^q for p ≤ q, symmetric under the exchange of j and k.

        Where every species vector has one channel only, as with `onehot`, a triplet counts for one pair of channels: it belongs to the
        centre with this pair, and has one weight. Otherwise it belongs to the centre, and has a weight for every pair.
        """
        apart = not chemistry.requires_grad and bool(((chemistry != 0).sum(1) <= 1).all())
        kind = chemistry.abs().argmax(1)[edges.neighbor] if apart else torch.zeros_like(edges.neighbor)
        three = triplets(edges, self.angular_cutoff.radius, kind, self.n_channels if apart else 1)
        if self.third_side and not edges.complete:
            three = three.where((_third_side(edges, three) < self.angular_cutoff.radius).nonzero()[:, 0])
        if apart:
            three = three.with_pairs(self.place_of_pair, len(self.channel_p))
        if apart:
            e = chemistry.sum(1)[edges.neighbor]
            return three, (e.index_select(0, three.first) * e.index_select(0, three.second))[:, None]
        e_j, e_k = chemistry[edges.neighbor[three.first]], chemistry[edges.neighbor[three.second]]
        p, q = self.channel_p, self.channel_q
        both = e_j[:, p] * e_k[:, q]
        return three, torch.where(p == q, both, both + e_j[:, q] * e_k[:, p])

    @final
    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge, by forward differentiation of the elementwise terms and the chain rule to the vectors."""
        n_edges = len(edges.center)
        unit = edges.vector / edges.distance[:, None]
        slope = forward_derivative(self.shells, edges.distance, torch.ones_like(edges.distance))[1]
        own = torch.arange(n_edges, device=edges.center.device)
        radial = sum_by_channel(slope[:, None, :] * unit[:, :, None], chemistry.index_select(0, edges.neighbor), own, n_edges)
        three, weights = self.weighted_triplets(edges, chemistry)
        if weights.shape[1] < len(self.channel_p):
            pair = (three.owner % len(self.channel_p))[:, None]
            weights = weights.new_zeros(len(pair), len(self.channel_p)).scatter(1, pair, weights)
        a, b = edges.vector[three.first], edges.vector[three.second]
        f, falls = with_slope(self.angular_cutoff, edges.distance)
        left, right = self.factors(corners(edges, three, f))
        of_left, of_right = self._slopes_by_sides(edges, three, f, falls)
        terms = of_left[:, :, :, None] * right[:, None, None, :] + left[:, None, :, None] * of_right[:, :, None, :]
        by_r_ij, by_r_ik, by_dot = self.combinations(terms.flatten(2))[:, :, None, :].unbind(1)
        by_first = by_r_ij * unit[three.first, :, None] + by_dot * b[:, :, None]
        by_second = by_r_ik * unit[three.second, :, None] + by_dot * a[:, :, None]
        angular = sum_by_channel(by_first, weights, three.first, n_edges) + sum_by_channel(by_second, weights, three.second, n_edges)
        return self.kept(torch.cat([part.transpose(1, 2).flatten(2) for part in (radial, angular)], dim=-1))


def _third_side(edges: Edges, three: Triplets) -> Float[Tensor, " triplet"]:
    """r_jk (Å), cut off from gradients."""
    vector = edges.vector.detach()
    distance: Tensor = torch.linalg.vector_norm(vector.index_select(0, three.first) - vector.index_select(0, three.second), dim=1)
    return distance


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
