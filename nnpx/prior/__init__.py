"""Priors: physics that holds where no data are, added to what is learned.

A prior is short-ranged, smooth at the cutoff and has no trained parameters. A new one is a subclass of `Prior`.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.graph import Edges


class Prior(nn.Module, ABC):
    """An analytic contribution to each atom's energy. `numbers` (wired) holds the atomic numbers in the order of the species index."""

    reach: float  #: Å; the prior is zero beyond, and the potential's cutoff must not be shorter

    def places(self, edges: Edges, species: Int[Tensor, " atom"]) -> Int[Tensor, " chosen"]:
        """Places of the edges that it is evaluated for: of all others it is zero."""
        return edges.near(self.reach)

    @abstractmethod
    def forward(self, edges: Edges, species: Int[Tensor, " atom"]) -> Float[Tensor, " atom"]:
        """Energy of every atom, eV; half of each pair."""
