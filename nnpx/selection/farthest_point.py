"""Functions as different from each other as can be."""

from typing import Annotated, final

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from nnpx.selection import Selection
from nnpx.selection.pruning import Pruning


@final
class FarthestPoint(Selection):
    """Always the function farthest from those that are chosen already, with the angle between two as their distance.

        d_kl² = 1 − cos²(x_k, x_l),   next = argmax_k min_{l chosen} d_kl       Imbalzano et al. 2018, doi:10.1063/1.5024611

    x_k is the standardised column of function k, so the cosine is a correlation; a function and its negative say the same and have no
    distance. The first is the one whose squared correlations with all others have the largest sum.

    Args:
        n_selected: number of functions to choose.
        pruning: what is left out before.
    """

    def __init__(self, *, n_selected: Annotated[int, Ge(1)], pruning: Pruning) -> None:
        self.n_selected, self.pruning = n_selected, pruning

    def order(self, overlap: Float[Tensor, "feature feature"]) -> list[int]:
        """Up to `n_selected` functions, the first and then always the farthest."""
        size = overlap.diagonal()
        squared_distance = 1.0 - overlap.square() / (size[:, None] * size)
        chosen = [int(squared_distance.sum(0).argmin())]
        to_nearest = squared_distance[chosen[0]].clone()
        while len(chosen) < min(self.n_selected, len(overlap)):
            to_nearest[chosen] = -1.0  # rounding must not choose one twice
            chosen.append(int(to_nearest.argmax()))
            to_nearest = to_nearest.minimum(squared_distance[chosen[-1]])
        return chosen
