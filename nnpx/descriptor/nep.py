"""The descriptor of the neuroevolution potential."""

from collections.abc import Callable
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.expanding import Expanded, ExpandingDescriptor, Gradients
from nnpx.descriptor.harmonics import Harmonics
from nnpx.descriptor.invariants import Invariants
from nnpx.descriptor.learned_density import contracted, contracted_back
from nnpx.descriptor.listed_triplets import angular_cutoff
from nnpx.descriptor.neighbor_sums import NeighborSums, side_by_side
from nnpx.descriptor.stored import jacobian_by_slots
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired


@final
class NEP(ExpandingDescriptor):
    """Learned radial functions up to the cutoff, and learned moments of the closer neighbours.

        g_n(r_ij) = Σ_k c^{ij}_nk φ_k(r_ij) f_c(r_ij)
        q_n    = Σ_j g_n(r_ij)                                             distances, up to the cutoff
        A_nlm  = Σ_j g'_n(r_ij) Y_lm(r̂_ij)                                 up to the angular radius, with coefficients of their own
        q_nl   = Σ_m A_nlm² = Σ_jk g'_n(r_ij) g'_n(r_ik) P_l(cos θ_ijk)    angles,  l = 1 … l_max
        q_n222 = Σ G^{222}_abc A_n2a A_n2b A_n2c                           three neighbours at once

    Fan et al. 2021, doi:10.1103/PhysRevB.104.104309; four-body terms: Fan et al. 2022, doi:10.1063/5.0106617. The published five-body
    term is the square of q_n1 and is left out. Published values differ from these by constant factors, which standardisation removes
    where a feature varies by more than the floor.

    With `species_embedding=onehot` there is one c per pair of elements, as published; with fewer channels, one per pair of channels. Within
    the angular radius r_a the radial functions are those of the cutoff squeezed: φ_k(r r_c / r_a).

    Args:
        cutoff: f_c, with its own radius for distances and with the angular radius for angles.
        radial: φ_k; published as `chebyshev`.
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å; at most the cutoff's.
        n_radial: number of functions g_n for distances.
        n_angular: number of functions g'_n for angles.
        l_max: highest angular momentum.
        generator: source of the initial coefficients.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff.
    """

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        angular_radius: Annotated[float, Gt(0)],
        n_radial: Annotated[int, Ge(1)],
        n_angular: Annotated[int, Ge(1)],
        l_max: Annotated[int, Ge(2), Le(6)],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.cutoff, self.radial, self.angular_cutoff = cutoff, radial, angular_cutoff(cutoff, angular_radius)
        self.n_radial, self.n_angular, self.l_max = n_radial, n_angular, l_max
        self.harmonics = Harmonics(l_max)
        self.far_sums = NeighborSums(radial, cutoff, Harmonics(0))
        self.near_sums = NeighborSums(radial, self.angular_cutoff, self.harmonics, squeeze=cutoff.radius / angular_radius)
        n_terms = radial.n_functions * n_channels
        start = torch.randn(n_channels, n_terms, n_radial + n_angular, generator=generator, dtype=torch.float64)
        self.coefficients = nn.Parameter(start / radial.n_functions**0.5)
        self.invariants = Invariants(l_max, max_body_order=4, couples=[(2, 2, 2)])
        self.n_features = n_radial + n_angular * (l_max + 1)

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """q_n, then q_nl of every l, then q_n222."""
        far, near = slots(edges, self.cutoff.radius), slots(edges, self.angular_cutoff.radius)
        shells = self.radial(far.distance) * self.cutoff(far.distance)[:, None]
        distances = sum_of_outer_products(shells, chemistry[far.neighbor], edges.n_atoms).flatten(1)
        return self.of_densities((distances[None], self.density(near, chemistry).transpose(0, 1)), chemistry)

    def of_densities(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> Float[Tensor, "atom feature"]:
        """The same from the expanded densities up to the cutoff and up to the angular radius, whose terms are pairs of k and c."""
        distances, moments = (contracted(own, of_own, chemistry) for own, of_own in zip(sums, self._coefficients(), strict=True))
        return torch.cat([distances[0], self.invariants(moments)[:, self.n_angular :]], dim=1)  # A_n00 is no feature

    def _coefficients(self) -> tuple[Float[Tensor, "term radial"], Float[Tensor, "term angular"]]:
        """Of distances and of angles, for every channel of the centre one function after the other."""
        far, near = self.coefficients.transpose(0, 1).split([self.n_radial, self.n_angular], dim=2)
        return far.flatten(1), near.flatten(1)

    def expanded(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Expanded | None:
        """The expanded densities up to the cutoff and up to the angular radius, in loops over the pairs, on a processor."""
        of_neighbor = chemistry.index_select(0, edges.neighbor)
        return side_by_side(self.far_sums.expanded(edges, of_neighbor), self.near_sums.expanded(edges, of_neighbor))

    def has_loops(self, of_species: Float[Tensor, "species channel"]) -> bool:
        """Unless radial functions or cutoff are trained or not smooth enough for a table."""
        return self.far_sums.basis(of_species.dtype) is not None and self.near_sums.basis(of_species.dtype) is not None

    def linearised_in(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Gradients]]:
        """The features and their derivatives in the expanded densities, in loops over the atoms."""
        far, near = sums
        with torch.no_grad():
            of_far, of_near = self._coefficients()
            (distances,) = contracted(far, of_far, chemistry)
            angles, back = self.invariants.linearised(contracted(near, of_near, chemistry))

        def gradients(slopes: Float[Tensor, "energy atom feature"]) -> Gradients:
            by_distance, by_angle = slopes.split([self.n_radial, self.n_features - self.n_radial], dim=2)
            by_moment = back(functional.pad(by_angle, (self.n_angular, 0)))
            with torch.no_grad():
                return contracted_back(by_distance[:, None], of_far, chemistry), contracted_back(by_moment, of_near, chemistry)

        return torch.cat([distances, angles[:, self.n_angular :]], dim=1), gradients

    def expands_like(self, other: Descriptor) -> bool:
        """Whether radial functions, cutoffs and harmonics are the same; coefficients may be others."""
        return isinstance(other, NEP) and self.far_sums.equals(other.far_sums) and self.near_sums.equals(other.near_sums)

    def density(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom component term"]:
        """Σ_j Y_lm(r̂_ij) φ_k(r_ij r_c / r_a) f_c(r_ij) e_j of the edges within the angular radius r_a."""
        squeezed = edges.distance * (self.cutoff.radius / self.angular_cutoff.radius)
        shells = self.radial(squeezed) * self.angular_cutoff(edges.distance)[:, None]
        weighted = (shells[:, :, None] * chemistry.index_select(0, edges.neighbor)[:, None]).flatten(1)
        return sum_of_outer_products(self.harmonics(edges.vector / edges.distance[:, None]), weighted, edges.n_atoms)

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij by forward differentiation."""
        return jacobian_by_slots(self, edges, chemistry)

    def names(self) -> list[str]:
        """`radial n=0`, `angular n=0 l=1`, `angular n=0 222`."""
        kinds = [*(f"l={order}" for order in range(1, self.l_max + 1)), "222"]
        return [f"radial n={n}" for n in range(self.n_radial)] + [f"angular n={n} {kind}" for kind in kinds for n in range(self.n_angular)]
