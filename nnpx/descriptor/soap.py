"""The power spectrum of a smooth neighbour density."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.density import slots, sum_of_outer_products
from nnpx.descriptor.harmonics import Harmonics, block
from nnpx.descriptor.smearing import Smeared
from nnpx.descriptor.stored import jacobian_by_slots
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired


@final
class SOAP(Descriptor):
    """Smooth overlap of atomic positions: every neighbour is a Gaussian, and each pair of expansion coefficients is one feature.

        ρ_i^c(r) = Σ_j e_j^c f_c(r_ij) exp(−|r − r_ij|² / 2σ²) = Σ_nlm A_cn,lm R_n(r) Y_lm(r̂)      with orthonormal R_n and Y_lm
        A_q,lm   = Σ_cn W_q,cn A_cn,lm
        p_qq'l   = (2l+1)^{−1/2} Σ_m A_q,lm A_q'lm,   q ≤ q'

    Bartók, Kondor & Csányi 2013, doi:10.1103/PhysRevB.87.184115. The R_n are the radial functions made orthonormal. Without W the spectrum
    has (channels × functions)² (l_max + 1) / 2 components, is fixed and can be stored; W compresses it and is trained (Willatt, Musil &
    Ceriotti 2018, doi:10.1039/C8CP05921G). The central atom is not part of the density.

    Args:
        cutoff: f_c.
        radial: spans the R_n.
        n_channels: length of the species vector.
        n_densities: number of mixtures q, or null for every channel and radial function by itself.
        l_max: highest angular momentum.
        width: σ, Å.
        generator: source of the initial W.

    Raises:
        ConfigError: the radial functions depend on each other, or the width is too small for the radius.
    """

    pair: Tensor

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        n_densities: Annotated[int, Ge(1)] | None,
        l_max: Annotated[int, Ge(1), Le(12)],
        width: Annotated[float, Gt(0)],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.cutoff, self.l_max = cutoff, l_max
        self.harmonics = Harmonics(l_max)
        self.smeared = Smeared(radial=radial, l_max=l_max, width=width, radius=cutoff.radius)
        n_terms = radial.n_functions * n_channels
        self.mixing: nn.Parameter | None = None
        self.n_densities = self.n_terms = n_terms
        if n_densities is not None:
            start = torch.randn(n_terms, n_densities, generator=generator, dtype=torch.float64) / n_terms**0.5
            self.mixing, self.n_densities = nn.Parameter(start), n_densities
        first, second = torch.triu_indices(self.n_densities, self.n_densities)
        self.register_buffer("pair", first * self.n_densities + second, persistent=False)
        self.n_features = (l_max + 1) * len(first)

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The spectrum of every l, for all pairs q ≤ q'."""
        inside = slots(edges, self.cutoff.radius)
        shells = self.smeared(inside.distance) * self.cutoff(inside.distance)[:, None, None]
        weighted = (shells[..., None] * chemistry.index_select(0, inside.neighbor)[:, None, None]).flatten(2)
        directions = self.harmonics(inside.vector / inside.distance[:, None])
        spectrum = []
        for order in range(self.l_max + 1):
            moments = sum_of_outer_products(directions[:, block(order)], weighted[:, order], edges.n_atoms)
            moments = moments if self.mixing is None else moments @ self.mixing
            both = torch.bmm(moments.mT, moments).flatten(1)
            spectrum.append(both.index_select(1, self.pair) * (2 * order + 1) ** -0.5)
        return torch.cat(spectrum, dim=1)

    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """The polynomials of every pair, as many as the width asks for in the radius, and its functions in every channel."""
        per_pair = 3.0 * len(self.smeared.series) + (self.l_max + 1) * 2.0 * (self.l_max + self.smeared.n_functions + self.n_terms)
        return super().memory_per_atom(n_neighbors, derivatives=derivatives) + per_pair * n_neighbors

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij by forward differentiation."""
        return jacobian_by_slots(self, edges, chemistry)

    def names(self) -> list[str]:
        """`l=0 densities 0,1`; without mixing, density n · channels + c is radial function n in channel c."""
        every = range(self.n_densities)
        return [f"l={order} densities {q},{other}" for order in range(self.l_max + 1) for q in every for other in every if q <= other]
