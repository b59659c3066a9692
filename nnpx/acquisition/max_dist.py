"""As different from each other as the network can tell."""

from typing import Annotated, final

import numpy as np
from annotated_types import Ge

from nnpx.acquisition import Acquisition, Pool
from nnpx.acquisition.distances import farthest
from nnpx.acquisition.threshold import Threshold


@final
class MaxDist(Acquisition):
    """Always the candidate farthest from what is labelled or chosen, in the space of last-layer features.

        next = argmax_c min_{k labelled or chosen} |φ_c − φ_k|,   φ = ∂V/∂w_last        Zaverkin et al. 2022, doi:10.1039/D2DD00034B

    Args:
        n_selected: see `Acquisition`.
        band: see `Acquisition`.
    """

    def __init__(self, *, n_selected: Annotated[int, Ge(1)], band: Threshold) -> None:
        super().__init__(n_selected=n_selected, band=band)

    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """The farthest first."""
        return farthest(pool.last_layer, pool.last_layer_known, self.n_selected)
