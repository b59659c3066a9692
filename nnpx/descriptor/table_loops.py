"""How loops read the tables of `nnpx.descriptor.tabulated`: eight functions at once, with their slopes."""

from typing import Any

import numpy as np

from nnpx.speed.eights import load
from nnpx.speed.loops import part_of_loop


@part_of_loop
def find(table: np.ndarray, reach: np.ndarray, at: float) -> tuple[int, float]:
    """Where the coefficients of the first function begin in the table, and t."""
    position = (at - reach[1]) * reach[0]
    piece = min(int(position), len(table) - 1) if position > 0.0 else 0  # closer than the table, and NaN, in the first
    return piece * table.shape[1] * table.shape[2], position - table.dtype.type(piece)


@part_of_loop
def read(table: np.ndarray, place: int, t: float) -> tuple[Any, Any]:
    """Eight functions and their slopes in t."""
    row = table.shape[2]
    value: Any = load(table, place + 5 * row)
    slope: Any = value
    value = value * t + load(table, place + 4 * row)
    slope = slope * t + value
    value = value * t + load(table, place + 3 * row)
    slope = slope * t + value
    value = value * t + load(table, place + 2 * row)
    slope = slope * t + value
    value = value * t + load(table, place + row)
    return value * t + load(table, place), slope * t + value
