"""Moments of a neighbour density that knows what the neighbours see."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.density import reverse
from nnpx.descriptor.harmonics import angular_momenta
from nnpx.descriptor.invariants import Invariants
from nnpx.descriptor.learned_density import Expansion, LearnedDensity
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired


@final
class MomentsWithMessages(Descriptor):
    """Moments as in `Moments`, twice: the second time each neighbour counts by a vector that it has learned about its own environment.

        G¹_i = invariants of A¹_i                     neighbours weighted by their species vectors e_j
        s_ij = tanh Σ_lm Y_lm(r̂_ij) C_j,lm            the message of atom j to atom i
        C_j,00 = U arsinh(G¹_j) + V e_j               what it tells everybody
        C_j,lm = Σ_q M^l_q A¹_j,qlm,  l ≥ 1           what it tells those in one direction
        G²_i = invariants of A²_i                     neighbours weighted by their messages s_ij
        G_i = G¹_i ⊕ G²_i

    An atom thus feels atoms up to twice the cutoff away, through a neighbour that both have, and at which angle it sees them. Messages are
    invariant, as the moments of a neighbour turn with the direction in which they are read; one round of them (Batatia et al. 2022,
    arXiv:2206.07697; angles in messages: Gasteiger et al. 2020, arXiv:2003.03123). The arsinh tames the tails of products of four moments.

    Args:
        cutoff: f_c.
        radial: φ_k.
        n_channels: length of the species vector.
        n_densities: how many learned densities q, each time.
        n_messages: length of s.
        l_max: highest angular momentum.
        max_body_order: 2 sees distances, 3 angles, 4 and 5 the shape of three and four neighbours.
        generator: source of the initial coefficients.
    """

    is_local = False

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        n_densities: Annotated[int, Ge(1)],
        n_messages: Annotated[int, Ge(1)],
        l_max: Annotated[int, Ge(1), Le(6)],
        max_body_order: Annotated[int, Ge(2), Le(5)],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.expansion = Expansion(cutoff, radial, l_max)
        self.invariants = Invariants(l_max, max_body_order)
        n_invariants = len(self.invariants.kinds) * n_densities
        self.first, self.second = (
            LearnedDensity(
                n_center_channels=n_channels,
                n_neighbor_channels=of_neighbor,
                n_shells=radial.n_functions,
                n_densities=n_densities,
                l_max=l_max,
                generator=generator,
            )
            for of_neighbor in (n_channels, n_messages)
        )
        from_geometry, from_chemistry, from_moments = (
            torch.randn(*shape, n_messages, generator=generator, dtype=torch.float64)
            for shape in ((n_invariants,), (n_channels,), (l_max, n_densities))
        )
        self.from_geometry = nn.Parameter(from_geometry / n_invariants**0.5)
        self.from_chemistry = nn.Parameter(from_chemistry)
        self.from_moments = nn.Parameter(from_moments / n_densities**0.5)
        self.order: Tensor
        self.parity: Tensor
        self.register_buffer("order", angular_momenta(l_max)[1:], persistent=False)
        self.register_buffer("parity", (-1.0) ** self.order[:, None, None], persistent=False)
        self.n_densities, self.n_features = n_densities, 2 * n_invariants

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The invariants of the first and of the second density."""
        shells = self.expansion(edges)
        moments = self.first(shells, chemistry, chemistry.index_select(0, shells.pairs.neighbor))
        seen = self.invariants(moments)
        to_all = torch.asinh(seen) @ self.from_geometry + chemistry @ self.from_chemistry
        directed = torch.bmm(moments[1:], self.from_moments.index_select(0, self.order - 1) * self.parity)
        told = torch.cat([to_all[None], directed]).transpose(0, 1)
        # each atom evaluates what it tells in all its directions, which is little to send: Y_lm(r̂_ij) = (−1)^l Y_lm(r̂_ji)
        sent = torch.bmm(shells.angular.view(len(told), -1, told.shape[1]), told)
        messages = torch.tanh(sent.flatten(0, 1)).index_select(0, reverse(shells.pairs))
        return torch.cat([seen, self.invariants(self.second(shells, chemistry, messages))], 1)

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """Not defined: the features of an atom depend on the edges of its neighbours, too.

        Raises:
            TypeError: always; what is trained is never stored.
        """
        raise TypeError("MomentsWithMessages is not local: its derivatives are no array over the edges of each atom")

    def names(self) -> list[str]:
        """As `Moments`, once without and once with messages."""
        kinds = [f"{kind}{mark}" for mark in ("", " of messages") for kind in self.invariants.kinds]
        return [f"{kind} density {q}" for kind in kinds for q in range(self.n_densities)]
