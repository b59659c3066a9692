"""Symmetry functions G5 at a cost that is linear in the neighbours."""

import math
from typing import Annotated, Final, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.derivatives import forward_derivative
from nnpx.descriptor import Descriptor
from nnpx.descriptor.angular import AngularSet
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.expanding import Expanded, ExpandingDescriptor
from nnpx.descriptor.function_grid import FunctionGrid
from nnpx.descriptor.harmonics import Harmonics, angular_momenta
from nnpx.descriptor.listed_triplets import angular_cutoff
from nnpx.descriptor.neighbor_sums import NeighborSums, side_by_side
from nnpx.errors import ConfigError
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.radial.bells import bells
from nnpx.wiring import Wired

#: the largest ζ: (ζ + 1)² moments are needed, and above it triplets are cheaper for all but the densest environments
SHARPEST: Final = 6


@final
class AcsfMoments(ExpandingDescriptor):
    """The symmetry functions G2 and G5 of `ACSF`, the same numbers in the same order, without a sum over pairs of neighbours.

        (1 + λ cos θ)^ζ = Σ_l c_l P_l(cos θ),   c_l = (2l + 1)/2 ∫ (1 + λx)^ζ P_l(x) dx
        M^p_lm = Σ_j e_j^p g(r_ij) Y_lm(r̂_ij),   g(r) = e^{−η (r − r_s)²} f_c(r)
        G5_i = 2^{1−ζ} [Σ_l c_l Σ_m M^p_lm M^q_lm − (1 + λ)^ζ Σ_j e_j^p e_j^q g(r_ij)²],   half of it for p = q

    The addition theorem Σ_m Y_lm(r̂_ij) Y_lm(r̂_ik) = P_l(cos θ_ijk) separates the neighbours; the last term takes the pairs j = k out again.
    This is exact for whole ζ. G4 cannot be had this way: its third side does not separate.

    Args:
        cutoff: f_c, applied to radial functions at its own radius.
        radial: φ_n.
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å; at most the cutoff's.
        angular: the set of η, r_s, λ, ζ; ζ are whole numbers up to 6.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff, or some ζ is no whole number or above 6.
    """

    legendre: Tensor
    straight: Tensor
    angular_momentum: Tensor
    channel_p: Tensor
    channel_q: Tensor

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        angular_radius: Annotated[float, Gt(0)],
        angular: AngularSet,
    ) -> None:
        super().__init__()
        self.cutoff, self.radial, self.n_channels = cutoff, radial, n_channels
        self.angular_cutoff = angular_cutoff(cutoff, angular_radius)
        self.grid = FunctionGrid(angular.parameters(angular_radius))
        zetas = [_whole(zeta) for zeta in self.grid.zeta.tolist()]
        self.l_max = max(zetas)
        self.harmonics = Harmonics(self.l_max)
        cones = list(zip(self.grid.lam.tolist(), zetas, strict=True))
        p, q = torch.triu_indices(n_channels, n_channels)
        tables = {
            "legendre": torch.tensor([_legendre_series(lam, zeta, self.l_max) for lam, zeta in cones], dtype=torch.float64),
            "straight": torch.tensor([2.0 ** (1 - zeta) * (1.0 + lam) ** zeta for lam, zeta in cones], dtype=torch.float64),
            "angular_momentum": angular_momenta(self.l_max),
            "channel_p": p,
            "channel_q": q,
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.n_features = radial.n_functions * n_channels + self.grid.n_functions * len(p)
        self.radial_sums = NeighborSums(radial, cutoff, Harmonics(0))
        self.moment_sums = NeighborSums(_Bells(self.grid, 1), self.angular_cutoff, self.harmonics)
        self.own_sums = NeighborSums(_Bells(self.grid, 2), _Squared(self.angular_cutoff), Harmonics(0))

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """G2 of every channel, then G5 of every pair of channels, in ascending order of η, r_s, λ, ζ."""
        inside, near = slots(edges, self.cutoff.radius), slots(edges, self.angular_cutoff.radius)
        radial = sum_of_outer_products(chemistry.index_select(0, inside.neighbor), self.shells(inside.distance), edges.n_atoms)
        e = chemistry.index_select(0, near.neighbor)
        both = e[:, self.channel_p] * e[:, self.channel_q]
        itself = sum_of_outer_products(both, self.narrow_shells(near.distance).square(), edges.n_atoms)
        return self._joined(radial, self.moments(near, chemistry), itself)

    def _joined(
        self,
        radial: Float[Tensor, "atom channel radial"],
        moments: Float[Tensor, "atom component channel shell"],
        itself: Float[Tensor, "atom pair shell"],
    ) -> Float[Tensor, "atom feature"]:
        """G2, and G5 from the moments less what a neighbour adds with itself."""
        spectrum = self.sum_over_m(moments[:, :, self.channel_p] * moments[:, :, self.channel_q])
        pairs = torch.einsum("alps,cl->apsc", spectrum, self.legendre) - itself[..., None] * self.straight
        return torch.cat([radial.flatten(1), self.ordered(pairs)], dim=1)

    def expanded(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Expanded | None:
        """Σ_j e_j φ f_c, M and Σ_j e_j^p e_j^q g², in loops over the pairs, on a processor."""
        e = chemistry.index_select(0, edges.neighbor)
        both = e[:, self.channel_p] * e[:, self.channel_q]
        return side_by_side(self.radial_sums.expanded(edges, e), self.moment_sums.expanded(edges, e), self.own_sums.expanded(edges, both))

    def has_loops(self, of_species: Float[Tensor, "species channel"]) -> bool:
        """Unless radial functions are trained or something is not smooth enough for a table."""
        return all(sums.basis(of_species.dtype) is not None for sums in (self.radial_sums, self.moment_sums, self.own_sums))

    def expands_like(self, other: Descriptor) -> bool:
        """Whether the functions are the same."""
        if not isinstance(other, AcsfMoments) or other.names() != self.names():
            return False
        return self.radial_sums.equals(other.radial_sums) and self.moment_sums.equals(other.moment_sums)

    def of_densities(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> Float[Tensor, "atom feature"]:
        """The features from the three sums, whose terms are pairs of a function and a channel or a pair of channels."""
        n_weights = (self.n_channels, self.n_channels, len(self.channel_p))
        radial, moments, itself = (density.unflatten(2, (-1, n)).mT for density, n in zip(sums, n_weights, strict=True))
        return self._joined(radial[0], moments.transpose(0, 1), itself[0])

    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """Loops take no more than others; derivatives harmonics of every pair, and its radial functions and shells in every channel."""
        per_pair = derivatives * 10.0 * (self.l_max + 1) ** 2 + (self.radial.n_functions + len(self.grid.eta)) * (1.0 + self.n_channels)
        return super().memory_per_atom(n_neighbors, derivatives=derivatives) + per_pair * n_neighbors

    def shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """φ_n(r) f_c(r)."""
        shells: Tensor = self.radial(distance) * self.cutoff(distance)[:, None]
        return shells

    def narrow_shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge shell"]:
        """g(r) of every η and r_s."""
        envelope: Tensor = self.angular_cutoff(distance)[:, None]
        shells: Tensor = bells(-self.grid.eta * (distance[:, None] - self.grid.shift).square()) * envelope
        return shells

    def waves(self, vector: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge component shell"]:
        """g(r) Y_lm(r̂)."""
        distance = torch.linalg.vector_norm(vector, dim=1)
        waves: Tensor = self.harmonics(vector / distance[:, None])[:, :, None] * self.narrow_shells(distance)[:, None]
        return waves

    def moments(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom component channel shell"]:
        """M^p_lm for every shell, from slots within the angular radius."""
        weighted = (chemistry.index_select(0, edges.neighbor)[:, :, None] * self.narrow_shells(edges.distance)[:, None]).flatten(1)
        directions = self.harmonics(edges.vector / edges.distance[:, None])
        moments = sum_of_outer_products(directions, weighted, edges.n_atoms)
        return moments.view(*moments.shape[:2], self.n_channels, len(self.grid.eta))

    def sum_over_m(self, values: Float[Tensor, "row component ..."]) -> Float[Tensor, "row order ..."]:
        """From one value for every l and m to one for every l."""
        return values.new_zeros(len(values), self.l_max + 1, *values.shape[2:]).index_add(1, self.angular_momentum, values)

    def ordered(self, pairs: Float[Tensor, "row pair shell cone"]) -> Float[Tensor, "row feature"]:
        """Features in their order; p = q counts each pair of neighbours twice."""
        halved = pairs * torch.where(self.channel_p == self.channel_q, 0.5, 1.0).to(pairs.dtype)[:, None, None]
        return self.grid.of_functions(halved.flatten(0, 1).flatten(1)).view(len(pairs), -1)

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij by forward differentiation of what one edge adds to the moments, and the product rule."""
        is_near = edges.distance < self.angular_cutoff.radius
        near = is_near.nonzero()[:, 0]
        inner = edges.at(near)
        e, p, q = chemistry[inner.neighbor], self.channel_p, self.channel_q
        moments = self.moments(slots(inner, self.angular_cutoff.radius), chemistry)[inner.center]
        columns = []
        for axis in torch.eye(3, dtype=edges.vector.dtype, device=edges.vector.device):
            slope = forward_derivative(self.shells, edges.distance, edges.vector @ axis / edges.distance)[1]
            radial = (chemistry.index_select(0, edges.neighbor)[:, :, None] * slope[:, None]).flatten(1)
            wave, change = forward_derivative(self.waves, inner.vector, axis.expand_as(inner.vector))
            by_order = torch.einsum("elqs,cl->eqsc", self.sum_over_m(change[:, :, None] * moments), self.legendre)
            itself = 2.0 * (wave[:, 0] * change[:, 0])[:, None, :, None] * self.straight  # Y_00 = 1
            both = (e[:, p] * e[:, q])[:, :, None, None] * itself
            pairs = e[:, p, None, None] * by_order[:, q] + e[:, q, None, None] * by_order[:, p] - both
            columns.append(torch.cat([radial, radial.new_zeros(len(radial), self.n_features - radial.shape[1])], dim=1))
            columns[-1][near, radial.shape[1] :] = self.ordered(pairs)
        return torch.stack(columns, dim=1)

    def names(self) -> list[str]:
        """`G2 <radial> channel 0`, `G5 eta=… shift=… lambda=… zeta=… channels 0-1`, in the order of the features."""
        radial = [f"G2 {name} channel {q}" for q in range(self.n_channels) for name in self.radial.names()]
        pairs = list(zip(self.channel_p.tolist(), self.channel_q.tolist(), strict=True))
        return radial + [f"G5 {name} channels {p}-{q}" for p, q in pairs for name in self.grid.names()]


@final
class _Bells(Radial):
    """e^{−n η (r − r_s)²}."""

    def __init__(self, grid: FunctionGrid, power: int) -> None:
        super().__init__()
        self.grid, self.power, self.n_functions = grid, power, len(grid.eta)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge shell"]:
        """Of every η and r_s."""
        shells: Tensor = bells(-self.power * self.grid.eta * (distance[:, None] - self.grid.shift).square())
        return shells

    def names(self) -> list[str]:
        """They have none of their own."""
        return [""] * self.n_functions


@final
class _Squared(Cutoff):
    """f_c²."""

    def __init__(self, cutoff: Cutoff) -> None:
        super().__init__(radius=cutoff.radius)
        self.cutoff, self.smoothness = cutoff, cutoff.smoothness

    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """At x = r / radius."""
        return self.cutoff.envelope(x).square()


def _whole(zeta: float) -> int:
    if zeta != int(zeta) or zeta > SHARPEST:
        raise ConfigError(
            "descriptor.angular.zetas",
            expected=f"whole numbers up to {SHARPEST}",
            found=f"{zeta:g}",
            do="Choose such numbers, or descriptor=acsf with descriptor.kind=wide.",
        )
    return int(zeta)


def _legendre_series(lam: float, zeta: int, l_max: int) -> list[float]:
    """2^{1−ζ} c_l of (1 + λx)^ζ for l = 0 … l_max: the binomial series, then each power of x in Legendre polynomials.

    x^k = Σ_l (2l+1) k! / (2^{(k−l)/2} ((k−l)/2)! (l+k+1)!!) P_l,   l = k, k − 2, …
    """
    series = [0.0] * (l_max + 1)
    for k in range(zeta + 1):
        for order in range(k, -1, -2):
            half = (k - order) // 2
            double = math.prod(range(order + k + 1, 0, -2))
            power = (2 * order + 1) * math.factorial(k) / (2**half * math.factorial(half) * double)
            series[order] += 2.0 ** (1 - zeta) * math.comb(zeta, k) * lam**k * power
    return series
