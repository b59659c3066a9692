"""Densities of neighbours with learned radial functions, and the invariants of their moments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.cutoff import Cutoff
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.harmonics import Harmonics
from nnpx.descriptor.invariant_loops import GRADIENT, INVARIANTS, invariants, terms_of
from nnpx.descriptor.products import Couples, Products
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


@final
class Invariants(nn.Module):
    """What of the products of moments within one density is invariant: A_q00 and the `Products`, each for all densities.

    Args:
        l_max: highest angular momentum.
        max_body_order: one more than the largest number of factors.
        couples: angular momenta that are coupled, all there are if not given.
    """

    pair: Tensor
    coupling: Tensor
    term: Tensor
    gather: Tensor

    def __init__(self, l_max: int, max_body_order: int, couples: Couples | None = None) -> None:
        super().__init__()
        products = Products(l_max, max_body_order, couples)
        for name in ("pair", "coupling", "term", "gather"):
            self.register_buffer(name, getattr(products, name), persistent=False)
        self._coupling, self._gather = terms_of(products.coupling, products.pair), terms_of(products.gather, products.term)
        self.kinds = ["A0", *products.names]  #: `A0`, `A1·A1`, `(A1A1→2)·A2`, `(A1A2→1)·(A1A2→1)`

    def forward(self, moments: Float[Tensor, "component atom density"]) -> Float[Tensor, "atom feature"]:
        """ν = 1, then ν = 2 of every l, then ν = 3 and 4 of every combination; each for all densities."""
        return invariants(moments, *self._in_loops()) if moments.device.type == "cpu" else self.as_matrices(moments)

    def linearised(
        self, moments: Float[Tensor, "component atom density"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Tensor]]:
        """The same in loops, on a processor, and from ∂V/∂G (energy, atom, feature) of several energies their ∂V/∂A.

        Neither can be differentiated, and there are no such loops on a GPU.
        """
        terms, n_coupled, n_scalars = self._in_loops()
        features: Tensor = INVARIANTS(moments, terms, n_coupled, n_scalars)
        return features, lambda slopes: GRADIENT(slopes, moments, terms, n_coupled)

    def _in_loops(self) -> tuple[list[Tensor], int, int]:
        """The terms as loops read them, and how many tensors are coupled and scalars gathered."""
        terms = [self._coupling.place, self._coupling.coefficient, self._gather.place, self._gather.coefficient]
        return terms, self._coupling.n_rows, self._gather.n_rows

    def as_matrices(self, moments: Float[Tensor, "component atom density"]) -> Float[Tensor, "atom feature"]:
        """The same as products of matrices: what a GPU is good at."""
        _, n_atoms, n_densities = moments.shape
        columns = moments.flatten(1)
        both = columns.index_select(0, self.pair[0]) * columns.index_select(0, self.pair[1])
        tensors = torch.cat([columns, self.coupling @ both])
        terms = tensors.index_select(0, self.term[0]) * tensors.index_select(0, self.term[1])
        return torch.cat([columns[:1], self.gather @ terms]).view(-1, n_atoms, n_densities).transpose(0, 1).flatten(1)
