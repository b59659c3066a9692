"""Moments of the neighbour density: many-body invariants at a cost that is linear in the neighbours."""

from collections.abc import Callable
from typing import Annotated, final

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.expanding import Expanded, ExpandingDescriptor, Gradients
from nnpx.descriptor.invariants import Invariants
from nnpx.descriptor.learned_density import Expansion, LearnedDensity, contracted, contracted_back
from nnpx.descriptor.neighbor_sums import NeighborSums
from nnpx.descriptor.stored import jacobian_by_slots
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired


@final
class Moments(ExpandingDescriptor):
    """Invariants of up to four neighbours at once from the moments of the neighbour density, with learned radial functions.

        B_i,kclm = Σ_j e_j^c φ_k(r_ij) f_c(r_ij) Y_lm(r̂_ij)                  the density, expanded
        A_i,qlm  = Σ_{c'kc} W^l_{q,c'kc} e_i^{c'} B_i,kclm                   in each channel q a learned density
        ν = 1:  A_q00          ν = 2:  Σ_m A_qlm²          ν = 3:  Σ G^{abc} A_qa A_qb A_qc
        ν = 4:  Σ_m X^{ab→l}_qm X^{cd→l}_qm,   X^{ab→l}_qm = Σ G^{abl} A_qa A_qb

    This is the atomic cluster expansion (Drautz 2019, doi:10.1103/PhysRevB.99.014104) with products taken within each learned channel
    (Darby et al. 2023, doi:10.1103/PhysRevLett.131.028001), so that the number of features does not grow with that of the elements.
    Coefficients W^l depend on the elements of both atoms through their vectors e: with `onehot` there is one radial function per pair of
    elements. Products that follow from others are left out.

    Args:
        cutoff: f_c.
        radial: φ_k.
        n_channels: length of the species vector.
        n_densities: how many learned densities q.
        l_max: highest angular momentum.
        max_body_order: 2 sees distances, 3 angles, 4 and 5 the shape of three and four neighbours.
        generator: source of the initial coefficients.
    """

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        n_densities: Annotated[int, Ge(1)],
        l_max: Annotated[int, Ge(1), Le(6)],
        max_body_order: Annotated[int, Ge(2), Le(5)],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.expansion = Expansion(cutoff, radial, l_max)
        self.sums = NeighborSums(radial, cutoff, self.expansion.harmonics)
        self.density = LearnedDensity(
            n_center_channels=n_channels,
            n_neighbor_channels=n_channels,
            n_shells=radial.n_functions,
            n_densities=n_densities,
            l_max=l_max,
            generator=generator,
        )
        self.invariants = Invariants(l_max, max_body_order)
        self.n_densities = n_densities
        self.n_features = len(self.invariants.kinds) * n_densities

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """ν = 1, then ν = 2 of every l, then ν = 3 and 4 of every combination; each for all densities."""
        shells = self.expansion(edges)
        features: Tensor = self.invariants(self.density(shells, chemistry, chemistry.index_select(0, shells.pairs.neighbor)))
        return features

    def expanded(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Expanded | None:
        """B, in loops over the pairs, on a processor."""
        return self.sums.expanded(edges, chemistry.index_select(0, edges.neighbor))

    def has_loops(self, of_species: Float[Tensor, "species channel"]) -> bool:
        """Unless radial functions or cutoff are trained or not smooth enough for a table."""
        return self.sums.basis(of_species.dtype) is not None

    def of_densities(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> Float[Tensor, "atom feature"]:
        """The invariants of A, from B."""
        (density,) = sums
        features: Tensor = self.invariants(contracted(density, self.density.by_component(chemistry.shape[1]), chemistry))
        return features

    def linearised_in(
        self, sums: tuple[Float[Tensor, "_ atom _"], ...], chemistry: Float[Tensor, "atom channel"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Gradients]]:
        """The features and their derivatives in B, in loops over the atoms."""
        (density,) = sums
        with torch.no_grad():
            coefficients = self.density.by_component(chemistry.shape[1])
            features, back = self.invariants.linearised(contracted(density, coefficients, chemistry))
        return features, lambda slopes: (contracted_back(back(slopes), coefficients, chemistry),)

    def expands_like(self, other: Descriptor) -> bool:
        """Whether radial functions, cutoff and harmonics are the same; coefficients may be others."""
        return isinstance(other, Moments) and self.sums.equals(other.sums)

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij by forward differentiation."""
        return jacobian_by_slots(self, edges, chemistry)

    def names(self) -> list[str]:
        """`A0`, `A1·A1`, `(A1A1→2)·A2`, `(A1A2→1)·(A1A2→1)`, each for every density."""
        return [f"{kind} density {q}" for kind in self.invariants.kinds for q in range(self.n_densities)]
