"""What a report says of a trajectory's observables, beside those of the reference engine."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nnpx.report import Cell, Table

#: most decimals of a number with its error; what needs more is written with a power of ten
_MOST_DECIMALS: Final = 6


def distribution_table(name: str, found: Mapping[str, Any]) -> Table:
    """Bonds and angles: the mean with its standard error, and apart from it the width of the distribution, which no longer run narrows."""
    rows: list[Sequence[Cell]] = [
        (
            f"{kind} ({one['unit']})",
            with_error(one["mean"], one.get("mean_error")),
            f"{one['spread']:.2g}",
            with_error(one["reference_mean"], one.get("reference_mean_error")),
            f"{one['reference_spread']:.2g}",
            one["overlap"],
        )
        for kind, one in found.items()
        if one.get("reference_mean") is not None
    ]
    said = f"{name}: bonds and angles, mean ± standard error, and σ, the width of the distribution"
    return Table(said, ("", "potential", "σ", "reference", "σ", "overlap"), rows)


def with_error(value: float | None, error: float | None) -> str | None:
    """Such as `109.53 ± 0.12`: to the second digit of the standard error; None where there is no value."""
    if value is None or error is None:
        return None if value is None else f"{value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(error))) if error > 0.0 else _MOST_DECIMALS + 1
    return f"{value:.4g} ± {error:.2g}" if decimals > _MOST_DECIMALS else f"{value:,.{decimals}f} ± {error:,.{decimals}f}"
