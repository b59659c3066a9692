"""The baseline of all others."""

from typing import Annotated, final

import numpy as np
from annotated_types import Ge

from nnpx.acquisition import Acquisition, Pool
from nnpx.acquisition.threshold import Threshold


@final
class Random(Acquisition):
    """Candidates drawn with equal probability, without asking how much they resemble each other.

    Args:
        n_selected: see `Acquisition`.
        band: see `Acquisition`. With `error_factor`, `quantile` and `floor` 0 and a large `upper_factor` every structure is a candidate.
    """

    def __init__(self, *, n_selected: Annotated[int, Ge(1)], band: Threshold) -> None:
        super().__init__(n_selected=n_selected, band=band)

    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """Drawn without replacement."""
        return [int(one) for one in random.permutation(pool.size)[: self.n_selected]]
