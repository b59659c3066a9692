"""As different from each other as the network can tell."""

from typing import final

import numpy as np

from nnpx.acquisition import Acquisition, Pool
from nnpx.acquisition.distances import farthest


@final
class MaxDist(Acquisition):
    """Always the candidate farthest from what is labelled or chosen, in the space of last-layer features.

        next = argmax_c min_{k labelled or chosen} |φ_c − φ_k|,   φ = ∂V/∂w_last

    Zaverkin et al. 2022, doi:10.1039/D2DD00034B.
    """

    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """The farthest first."""
        return farthest(pool.last_layer, pool.last_layer_known, self.n_selected)
