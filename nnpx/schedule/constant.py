"""No schedule."""

from typing import final

from nnpx.schedule import Schedule


@final
class Constant(Schedule):
    """The peak learning rate at every step."""

    is_constant = True

    def __init__(self) -> None:
        pass

    def fraction(self, step: int, n_steps: int) -> float:
        """One."""
        return 1.0
