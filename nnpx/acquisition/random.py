"""The baseline of all others."""

from typing import final

import numpy as np

from nnpx.acquisition import Acquisition, Pool


@final
class Random(Acquisition):
    """Candidates drawn with equal probability, without asking how much they resemble each other.

    With `error_factor` 0, a tiny `floor`, a large `upper_factor` and no `distance_factor` of the band every structure is a candidate.
    """

    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """Drawn without replacement."""
        return [int(one) for one in random.permutation(pool.size)[: self.n_selected]]
