"""Densities of neighbours with learned radial functions."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.cutoff import Cutoff
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.harmonics import Harmonics
from nnpx.graph import Edges
from nnpx.radial import Radial


@dataclass(frozen=True)
class Shells:
    """The pairs of every centre, expanded in distance and direction."""

    pairs: Edges  #: in the layout of `slots`
    radial: Float[Tensor, "slot shell"]  #: φ_k(r_ij) f_c(r_ij)
    angular: Float[Tensor, "slot component"]  #: Y_lm(r̂_ij)


@final
class Expansion(nn.Module):
    """Radial functions and spherical harmonics of the pairs within the cutoff.

    Args:
        cutoff: f_c.
        radial: φ_k.
        l_max: highest angular momentum.
    """

    def __init__(self, cutoff: Cutoff, radial: Radial, l_max: int) -> None:
        super().__init__()
        self.cutoff, self.radial, self.harmonics = cutoff, radial, Harmonics(l_max)

    def forward(self, edges: Edges) -> Shells:
        """φ_k(r_ij) f_c(r_ij) and Y_lm(r̂_ij)."""
        inside = slots(edges, self.cutoff.radius)
        return Shells(
            pairs=inside,
            radial=self.radial(inside.distance) * self.cutoff(inside.distance)[:, None],
            angular=self.harmonics(inside.vector / inside.distance[:, None]),
        )


@final
class LearnedDensity(nn.Module):
    """Moments of densities to which each neighbour contributes with a learned radial function.

        A_i,qlm = Σ_{c'kc} W^l_{q,c'kc} e_i^{c'} Σ_j s_ij^c φ_k(r_ij) f_c(r_ij) Y_lm(r̂_ij)

    Args:
        n_center_channels: length of e_i, the vector of the centre.
        n_neighbor_channels: length of s_ij, the vector of the neighbour, or of what it tells the centre.
        n_shells: how many φ_k.
        n_densities: how many learned densities q.
        l_max: highest angular momentum.
        generator: source of the initial coefficients.
    """

    def __init__(
        self,
        *,
        n_center_channels: int,
        n_neighbor_channels: int,
        n_shells: int,
        n_densities: int,
        l_max: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        n_terms = n_center_channels * n_shells * n_neighbor_channels
        start = torch.randn(l_max + 1, n_terms, n_densities, generator=generator, dtype=torch.float64)
        self.coefficients = nn.Parameter(start / n_shells**0.5)

    def forward(
        self, shells: Shells, of_center: Float[Tensor, "atom center_channel"], of_neighbor: Float[Tensor, "slot neighbor_channel"]
    ) -> Float[Tensor, "component atom density"]:
        """A of every atom."""
        return contracted(self._expanded(shells, of_neighbor).transpose(0, 1), self.by_component(of_center.shape[1]), of_center)

    def by_component(self, n_center: int) -> Float[Tensor, "component term learned"]:
        """The coefficients of each component, for every channel of the centre one density after the other, as they are `contracted`."""
        by_center = self.coefficients.unflatten(1, (n_center, -1)).transpose(1, 2).flatten(2)
        return torch.cat([of_order.expand(2 * order + 1, -1, -1) for order, of_order in enumerate(by_center)])

    def _expanded(self, shells: Shells, of_neighbor: Float[Tensor, "slot neighbor_channel"]) -> Float[Tensor, "atom component term"]:
        """Σ_j s_ij^c φ_k(r_ij) f_c(r_ij) Y_lm(r̂_ij); terms are pairs of k and c. The short factors are multiplied first."""
        n_atoms, n_components = shells.pairs.n_atoms, shells.angular.shape[1]
        if of_neighbor.shape[1] < n_components:
            weighted = (shells.radial[:, :, None] * of_neighbor[:, None]).flatten(1)
            return sum_of_outer_products(shells.angular, weighted, n_atoms)
        waves = (shells.angular[:, :, None] * shells.radial[:, None]).flatten(1)
        density: Tensor = sum_of_outer_products(waves, of_neighbor, n_atoms).unflatten(1, (n_components, -1)).flatten(2)
        return density


def contracted(
    density: Float[Tensor, "component atom term"],
    coefficients: Float[Tensor, "*component term learned"],
    of_center: Float[Tensor, "atom center_channel"],
) -> Float[Tensor, "component atom density"]:
    """Σ_{c't} W_{q,c't} e_i^{c'} B_it, from coefficients that hold for every channel of the centre one density q after the other."""
    learned = torch.matmul(density, coefficients)
    of_channel = learned.split(learned.shape[2] // of_center.shape[1], dim=2)
    moments: Tensor = of_channel[0] * of_center[:, :1]
    for channel, own in enumerate(of_channel[1:], 1):  # faster than one sum over a dimension in the midst
        moments = torch.addcmul(moments, own, of_center[:, channel, None])
    return moments


def contracted_back(
    gradient: Float[Tensor, "energy component atom density"],
    coefficients: Float[Tensor, "*component term learned"],
    of_center: Float[Tensor, "atom center_channel"],
) -> Float[Tensor, "energy component atom term"]:
    """∂V/∂B of several energies from the gradients of what is `contracted`, which is linear; itself not to be differentiated."""
    weighted = gradient.new_empty(*gradient.shape[:3], of_center.shape[1], gradient.shape[3])
    with torch.no_grad():
        for channel in range(of_center.shape[1]):
            torch.mul(gradient, of_center[:, channel, None], out=weighted[:, :, :, channel])
        pulled: Tensor = torch.matmul(weighted.flatten(3), coefficients.mT)
    return pulled
