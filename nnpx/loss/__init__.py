"""Losses: how far a prediction is from its labels, as one dimensionless number.

Every term is an average over what is labelled, so that a missing label (NaN) neither counts nor spoils, and is divided by the square of
the root mean square force of the training set, so that weights mean the same for stiff and for soft systems. A loss may change in the
course of a training; it holds no state, so a resumed run continues exactly. A new one subclasses `Loss`.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.graph import AtomicGraph, Prediction


class Loss(nn.Module, ABC):
    """A number that training makes small.

    Attributes:
        changes_at: the values of the progress from which on it is another function of a batch, so that between them an update may be
            recorded and repeated; None, as long as a class says nothing: it may be another one in every update. A recorded batch is
            filled up by a structure that has no labels (NaN), which must not count.
        fits_spread: whether it fits the spread of a shallow ensemble to the errors of energies and forces in the end; else one is refused.
    """

    changes_at: tuple[float, ...] | None = None
    fits_spread: bool = False

    @abstractmethod
    def forward(self, prediction: Prediction, graph: AtomicGraph, progress: float) -> Float[Tensor, ""]:
        """The loss of a batch; least where prediction and labels agree, and zero there unless it also judges a predicted width.

        Args:
            prediction: what the potential says.
            graph: structures with labels.
            progress: fraction of the updates made, 0 at the first; 1 in validation, so that all epochs are judged by the last loss.
        """


def mean_of_labelled(values: Tensor, labels: Tensor) -> Float[Tensor, ""]:
    """Mean of the values whose labels exist (are not NaN); zero, with a zero gradient, where none does."""
    labelled = ~torch.isnan(labels)
    return torch.where(labelled, values, torch.zeros_like(values)).sum() / labelled.sum().clamp_min(1)


def difference(predicted: Tensor, labels: Tensor) -> Tensor:
    """Predicted minus label; zero where there is no label, so that a NaN never enters a gradient."""
    return torch.where(torch.isnan(labels), torch.zeros_like(predicted), predicted - labels.to(predicted.dtype))
