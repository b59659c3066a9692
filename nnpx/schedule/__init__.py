"""Schedules: the learning rate as a function of the step. They hold no state, so a resumed run continues exactly.

A new one is a subclass of `Schedule`.
"""

from abc import ABC, abstractmethod


class Schedule(ABC):
    """Fraction of the peak learning rate at every step of a run of known length.

    Attributes:
        is_constant: whether it is the same at all of them.
    """

    is_constant: bool = False

    @abstractmethod
    def fraction(self, step: int, n_steps: int) -> float:
        """Fraction of the peak learning rate at step 0 ≤ step < n_steps."""
