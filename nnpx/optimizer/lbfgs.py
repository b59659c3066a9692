"""The limited-memory quasi-Newton method, for small networks and whole training sets."""

from collections.abc import Iterable
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from torch import nn

from nnpx.optimizer import Optimizer


@final
class LBFGS(Optimizer):
    """L-BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116) with a line search by the strong Wolfe conditions.

    It trusts the difference of two gradients to be that of one function: every update must see the whole training set
    (trainer.batch_size=null) at a constant learning rate (schedule=constant), which a clipped gradient (trainer.gradient_clip) would
    belie, and averaged weights (trainer.ema_decay) would lag behind its long steps: `Trainer.check_objective` refuses them. Best from
    weights that another optimiser has found (initial=FILE), down to the last digits in trainer.precision=float64. An update evaluates the
    loss at least once per line search, so that it is worth its time for small networks and small sets alone.

    Args:
        learning_rate: first step of every line search, in units of the quasi-Newton step.
        iterations: line searches per update.
        history: pairs of steps and gradients that approximate the curvature.
        gradient_tolerance: an update ends when no component of the gradient is larger.
        change_tolerance: an update ends when neither a weight nor the loss changes by more.
    """

    sees_one_function = True

    def __init__(
        self,
        *,
        learning_rate: Annotated[float, Gt(0)],
        iterations: Annotated[int, Ge(1)],
        history: Annotated[int, Ge(1)],
        gradient_tolerance: Annotated[float, Ge(0)],
        change_tolerance: Annotated[float, Ge(0)],
    ) -> None:
        self.learning_rate, self.iterations, self.history = learning_rate, iterations, history
        self.gradient_tolerance, self.change_tolerance = gradient_tolerance, change_tolerance

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An L-BFGS of these parameters, which evaluates the loss several times in each update."""
        return torch.optim.LBFGS(
            list(parameters),
            lr=self.learning_rate,
            max_iter=self.iterations,
            history_size=self.history,
            tolerance_grad=self.gradient_tolerance,
            tolerance_change=self.change_tolerance,
            line_search_fn="strong_wolfe",
        )
