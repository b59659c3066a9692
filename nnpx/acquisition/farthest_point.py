"""As different from each other as the descriptor can tell: a baseline that asks no network."""

from typing import final

import numpy as np

from nnpx.acquisition import Acquisition, Pool
from nnpx.acquisition.distances import farthest


@final
class FarthestPoint(Acquisition):
    """Farthest-point sampling of the mean descriptors by element (Imbalzano et al. 2018, doi:10.1063/1.5024611).

    What tells structures apart here is the descriptor alone, whether or not it matters for the energy: compare with `max_dist`.
    """

    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """The farthest first."""
        return farthest(pool.descriptor, pool.descriptor_known, self.n_selected)
