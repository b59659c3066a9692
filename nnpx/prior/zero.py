"""No prior."""

from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from nnpx.graph import Edges
from nnpx.prior import Prior


@final
class Zero(Prior):
    """Everything is learned: the classic choice, which knows nothing where there are no data."""

    def __init__(self) -> None:
        super().__init__()
        self.reach = 0.0

    def places(self, edges: Edges, species: Int[Tensor, " atom"]) -> Int[Tensor, " chosen"]:
        """None."""
        return edges.center[:0]

    def forward(self, edges: Edges, species: Int[Tensor, " atom"]) -> Float[Tensor, " atom"]:
        """Zero for every atom."""
        return edges.distance.new_zeros(edges.n_atoms)
