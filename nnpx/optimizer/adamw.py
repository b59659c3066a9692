"""Adam with decoupled weight decay."""

from collections.abc import Iterable
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from nnpx.optimizer import Optimizer


@final
class AdamW(Optimizer):
    """Adaptive moments with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101); AMSGrad on request.

    Args:
        learning_rate: peak step size.
        beta1: memory of the mean gradient.
        beta2: memory of the squared gradient.
        weight_decay: fraction of a weight that is removed per step, in units of the learning rate.
        amsgrad: never let the squared gradient's memory shrink (Reddi et al. 2018, arXiv:1904.09237).
    """

    def __init__(
        self,
        *,
        learning_rate: Annotated[float, Gt(0)],
        beta1: Annotated[float, Interval(ge=0, lt=1)],
        beta2: Annotated[float, Interval(ge=0, lt=1)],
        weight_decay: Annotated[float, Ge(0)],
        amsgrad: bool,
    ) -> None:
        self.learning_rate, self.betas = learning_rate, (beta1, beta2)
        self.weight_decay, self.amsgrad = weight_decay, amsgrad

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fused AdamW of these parameters."""
        return torch.optim.AdamW(
            list(parameters), lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay, amsgrad=self.amsgrad, fused=True
        )
