"""One loss, then another."""

from typing import Annotated, final

from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from nnpx.graph import AtomicGraph, Prediction
from nnpx.loss import Loss


@final
class TwoStage(Loss):
    """The shape of the energy surface first, from the forces, which are many; then its height, with a loss that weighs energies more.

    The recipe of MACE (Batatia et al. 2022, arXiv:2206.07697). The learning rate should be low by then: `schedule=warmup_cosine` has come
    down to 15 % of its peak after three quarters of the training. Epochs of both stages are judged by the second loss, so that the best one
    is found among all; where training may stop early, trainer.patience_epochs must outlast the first stage.

    Args:
        first: the loss at the beginning.
        second: the loss at the end.
        switch_at: fraction of the updates after which the second takes over.
    """

    def __init__(self, *, first: Loss, second: Loss, switch_at: Annotated[float, Interval(ge=0, le=1)]) -> None:
        super().__init__()
        self.first, self.second, self.switch_at = first, second, switch_at
        self.fits_spread = second.fits_spread
        if first.changes_at is not None and second.changes_at is not None:
            self.changes_at = (*first.changes_at, switch_at, *second.changes_at)

    def forward(self, prediction: Prediction, graph: AtomicGraph, progress: float) -> Float[Tensor, ""]:
        """The loss of the stage that the progress falls into."""
        loss: Tensor = (self.first if progress < self.switch_at else self.second)(prediction, graph, progress)
        return loss
