"""What proposes the next point of a search.

A sampler is built anew for every trial, with a seed that follows from its own and the trials before: what is proposed depends on what is
known, not on the process that asks, so that a search in several processes never asks twice for the same, and one that is resumed goes on
as if it had not been interrupted.
"""

import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, final

from annotated_types import Ge

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Sampler(ABC):
    """Proposes points."""

    seed: int

    @abstractmethod
    def build(self, n_before: int) -> "BaseSampler":
        """Optuna's sampler for the trial after `n_before` others."""

    def _seed(self, n_before: int) -> int:
        import numpy as np

        return int(np.random.SeedSequence((self.seed, n_before)).generate_state(1)[0])


@final
class Random(Sampler):
    """Independent uniform points: what every other sampler has to beat.

    Args:
        seed: every proposal follows from it.
    """

    def __init__(self, *, seed: Annotated[int, Ge(0)]) -> None:
        self.seed = seed

    def build(self, n_before: int) -> "BaseSampler":
        """Optuna's random sampler."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=self._seed(n_before))


@final
class TPE(Sampler):
    """Tree-structured Parzen estimator, for one or several objectives (doi:10.48550/arXiv.2304.11127).

    Proposes what is likely among the best trials and unlikely among the others: the largest ratio of two kernel densities. Trials that
    still run count among the others, so that several workers stay apart.

    Args:
        seed: every proposal follows from it.
        n_startup_trials: random points before the densities mean anything.
        n_candidates: points drawn from the first density, of which the one with the largest ratio is proposed.
    """

    def __init__(
        self, *, seed: Annotated[int, Ge(0)], n_startup_trials: Annotated[int, Ge(1)], n_candidates: Annotated[int, Ge(1)]
    ) -> None:
        self.seed, self.n_startup_trials, self.n_candidates = seed, n_startup_trials, n_candidates

    def build(self, n_before: int) -> "BaseSampler":
        """Optuna's TPE."""
        from optuna.samplers import TPESampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_liar was long marked as experimental
            return TPESampler(
                seed=self._seed(n_before),
                n_startup_trials=self.n_startup_trials,
                n_ei_candidates=self.n_candidates,
                constant_liar=True,
            )


@final
class NSGA2(Sampler):
    """Non-dominated sorting genetic algorithm II, for several objectives (doi:10.1109/4235.996017).

    Each generation is bred from the members of the one before that are dominated least and crowded least.

    Args:
        seed: every proposal follows from it.
        population_size: trials of one generation; the first one is random.
    """

    def __init__(self, *, seed: Annotated[int, Ge(0)], population_size: Annotated[int, Ge(2)]) -> None:
        self.seed, self.population_size = seed, population_size

    def build(self, n_before: int) -> "BaseSampler":
        """Optuna's NSGA-II."""
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(seed=self._seed(n_before), population_size=self.population_size)
