"""Linear warm-up, then half a cosine."""

import math
from typing import Annotated, final

from annotated_types import Ge, Interval

from nnpx.schedule import Schedule


@final
class WarmupCosine(Schedule):
    """Linear rise over the warm-up, then half a cosine down to a last fraction (Loshchilov & Hutter 2017, arXiv:1608.03983).

    Args:
        warmup_steps: steps until the peak.
        final_fraction: fraction of the peak at the last step.
    """

    def __init__(self, *, warmup_steps: Annotated[int, Ge(0)], final_fraction: Annotated[float, Interval(ge=0, le=1)]) -> None:
        self.warmup_steps, self.final_fraction = warmup_steps, final_fraction

    def fraction(self, step: int, n_steps: int) -> float:
        """Fraction of the peak learning rate at a step."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        progress = (step - self.warmup_steps) / max(1, n_steps - 1 - self.warmup_steps)
        return self.final_fraction + (1.0 - self.final_fraction) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
