"""Different from each other, and standing for many."""

from typing import final

import numpy as np
from jaxtyping import Float

from nnpx.acquisition import Acquisition, Pool
from nnpx.acquisition.distances import farthest, squared_distances


@final
class LCMD(Acquisition):
    """The farthest member of the largest cluster (largest cluster maximum distance), in the space of last-layer features.

        centres: labelled and chosen;  every candidate belongs to its nearest;  size of a cluster = Σ_c |φ_c − φ_centre|²
        next = the candidate farthest from its centre in the largest cluster               Holzmüller et al. 2023, arXiv:2203.09410

    Where `max_dist` goes to the rim of what was met, this goes where most of what was met is badly represented.
    """

    def choose(self, pool: Pool, random: np.random.Generator) -> list[int]:
        """One from the largest cluster, then from what is then the largest."""
        points, chosen = pool.last_layer, farthest(pool.last_layer, pool.last_layer_known, 1)
        if not chosen:
            return []
        clusters = _Clusters(points)
        for center in [*pool.last_layer_known, points[chosen[0]]]:
            clusters.add(center)
        while len(chosen) < min(self.n_selected, len(points)) and (best := clusters.farthest_of_largest()) is not None:
            chosen.append(best)
            clusters.add(points[best])
        return chosen


@final
class _Clusters:
    """Points, each with its nearest centre so far."""

    def __init__(self, points: Float[np.ndarray, "point feature"]) -> None:
        self._points, self._n_centers = points, 0
        self._distance, self._center = np.full(len(points), np.inf), np.zeros(len(points), dtype=np.int64)

    def add(self, center: Float[np.ndarray, " feature"]) -> None:
        """A new centre takes what is closer to it than to all before."""
        distance = squared_distances(self._points, center)
        closer = distance < self._distance
        self._distance[closer], self._center[closer] = distance[closer], self._n_centers
        self._n_centers += 1

    def farthest_of_largest(self) -> int | None:
        """The point farthest from the centre of the largest cluster; None where all points are centres."""
        if self._distance.max() <= 0.0:
            return None
        largest = int(np.argmax(np.bincount(self._center, weights=self._distance)))
        return int(np.argmax(np.where(self._center == largest, self._distance, -1.0)))
