"""Distances between points, and the greedy rule that always takes the farthest."""

import numpy as np
from jaxtyping import Float


def squared_distances(points: Float[np.ndarray, "point feature"], one: Float[np.ndarray, " feature"]) -> Float[np.ndarray, " point"]:
    """|x − y|² of every point x."""
    return np.asarray(np.square(points - one).sum(1))


def farthest(points: Float[np.ndarray, "point feature"], known: Float[np.ndarray, "known feature"], n_selected: int) -> list[int]:
    """Always the point farthest from all that is known or chosen; without anything known, the first is the farthest from the mean.

    A point at no distance from what is known or chosen is never taken: it is the same structure.
    """
    if not len(points):
        return []
    to_nearest = np.full(len(points), np.inf)
    for one in known:
        np.minimum(to_nearest, squared_distances(points, one), out=to_nearest)
    chosen: list[int] = []
    while len(chosen) < min(n_selected, len(points)):
        measure = to_nearest if np.isfinite(to_nearest).all() else squared_distances(points, points.mean(0))
        best = int(np.argmax(measure))
        if measure[best] <= 0.0 and (chosen or len(known)):
            break
        chosen.append(best)
        np.minimum(to_nearest, squared_distances(points, points[best]), out=to_nearest)
    return chosen
