"""Functions from which the others follow best."""

from typing import Annotated, Final, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from nnpx.selection import Selection
from nnpx.selection.pruning import Pruning

#: a column of which this part of the variance is left, after the chosen ones are taken out, is a combination of them
_EXHAUSTED: Final = 1e-10


@final
class CUR(Selection):
    """Always the function that weighs most in what the chosen ones leave unexplained: the CUR decomposition, one column at a time.

        π_k = v_k²,   v the leading right singular vector of X;   choose argmax π,   then X ← X − x x̂ᵀX along the chosen column x

    Mahoney & Drineas 2009, doi:10.1073/pnas.0803205106; for symmetry functions with the orthogonalisation Imbalzano et al. 2018,
    doi:10.1063/1.5024611. v is the leading eigenvector of XᵀX, which is all that is needed of X.

    Args:
        n_selected: number of functions to choose.
        pruning: what is left out before.
    """

    def __init__(self, *, n_selected: Annotated[int, Ge(1)], pruning: Pruning) -> None:
        self.n_selected, self.pruning = n_selected, pruning

    def order(self, overlap: Float[Tensor, "feature feature"]) -> list[int]:
        """Up to `n_selected` functions; fewer where the rest follows from them."""
        chosen: list[int] = []
        rest, start = overlap.clone(), overlap.diagonal()
        while len(chosen) < min(self.n_selected, len(overlap)) and bool((rest.diagonal() > _EXHAUSTED * start).any()):
            scores = leverage(rest)
            scores[rest.diagonal() <= _EXHAUSTED * start] = -1.0  # the chosen ones, and what follows from them
            best = int(scores.argmax())
            rest = rest - torch.outer(rest[best], rest[best]) / rest[best, best]
            chosen.append(best)
        return chosen


def leverage(overlap: Float[Tensor, "feature feature"]) -> Float[Tensor, " feature"]:
    """π_k: the squared components of the leading right singular vector, whose sum is 1."""
    vectors: Tensor = torch.linalg.eigh(overlap)[1]
    return vectors[:, -1].square()
