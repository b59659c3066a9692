"""What stops a trial whose validation curve promises nothing."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, final

from annotated_types import Ge

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class Pruner(ABC):
    """Compares a trial with the earlier ones after every epoch."""

    @abstractmethod
    def build(self, max_epochs: int) -> "BasePruner":
        """Optuna's pruner for trainings of at most `max_epochs`."""


@final
class Median(Pruner):
    """Stops a trial that is worse than the median of the others at the same epoch.

    Args:
        n_startup_trials: completed trials before any is stopped.
        min_epochs: epochs that every trial may train.
    """

    def __init__(self, *, n_startup_trials: Annotated[int, Ge(1)], min_epochs: Annotated[int, Ge(1)]) -> None:
        self.n_startup_trials, self.min_epochs = n_startup_trials, min_epochs

    def build(self, max_epochs: int) -> "BasePruner":
        """Optuna's median pruner."""
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.n_startup_trials, n_warmup_steps=self.min_epochs)


@final
class Hyperband(Pruner):
    """Successive halving with several starting budgets (doi:10.48550/arXiv.1603.06560).

    Of the trials that reach a rung (`min_epochs`, times `reduction_factor`, times its square, …) only the best 1/`reduction_factor` go on;
    the brackets of Hyperband begin at different rungs, so that late bloomers have their chance.

    Args:
        min_epochs: epochs that every trial may train.
        reduction_factor: ratio of the epochs, and of the trials, of one rung and the next.
    """

    def __init__(self, *, min_epochs: Annotated[int, Ge(1)], reduction_factor: Annotated[int, Ge(2)]) -> None:
        self.min_epochs, self.reduction_factor = min_epochs, reduction_factor

    def build(self, max_epochs: int) -> "BasePruner":
        """Optuna's Hyperband."""
        from optuna.pruners import HyperbandPruner

        longest = max(max_epochs, self.min_epochs)
        return HyperbandPruner(min_resource=self.min_epochs, max_resource=longest, reduction_factor=self.reduction_factor)
