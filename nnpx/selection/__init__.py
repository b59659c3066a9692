"""Selection: which of many candidates for symmetry functions are worth computing, from the values they take on a training set.

The contract. An option is a `Selection`: it puts functions in order, the most telling first, from the products of their standardised values
alone (`nnpx.selection.pruning.overlaps`). The order is the same on every run: no random numbers. It belongs to no experiment: `nnpx select`
composes it from `conf/selection/` and writes its outcome, the names of the chosen functions, as an option of `descriptor`, which needs
neither the data nor the selection any more.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from nnpx.selection.pruning import Pruning


class Selection(ABC):
    """Puts functions in order."""

    n_selected: int  #: number of functions to choose
    pruning: Pruning  #: what is left out before

    @abstractmethod
    def order(self, overlap: Float[Tensor, "feature feature"]) -> list[int]:
        """Up to `n_selected` functions, the most telling first; fewer where the others would add nothing.

        Args:
            overlap: XᵀX of the standardised columns X of the functions; no column is zero.
        """
