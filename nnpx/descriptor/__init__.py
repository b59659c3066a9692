"""Descriptors: an atom's environment as a vector that translation, rotation, reflection and permutation cannot change.

Geometry enters a potential here and nowhere else. A descriptor sees the edges within the cutoff and the embedding of every atom; it weights
each neighbour by `chemistry[edges.neighbor]`. Most are local: the features of atom i depend on the edges whose centre is i, and on no
others. A new one is a subclass of `Descriptor`.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from nnpx.graph import Edges


class Descriptor(nn.Module, ABC):
    """Features of every atom's environment."""

    n_features: int  #: length of the feature vector
    is_local: bool = True  #: whether features depend on the edges of their own centre only
    remark: str = ""  #: what the descriptor decided by itself, as one sentence for the user

    @abstractmethod
    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The feature vector of every atom; zero for an isolated one."""

    @abstractmethod
    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge i → j: what is stored when the descriptor is fixed (`stored.jacobian_by_slots` does for any)."""

    @abstractmethod
    def names(self) -> list[str]:
        """One readable name per feature, so that a message can say which symmetry function left its range."""
