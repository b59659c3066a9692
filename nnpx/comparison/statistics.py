"""Means over seeds, the Pareto front, and how much of the error each choice explains."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from nnpx.comparison.rows import SEED, Quantity, Row, decisive, factors

#: below so many runs the importance of a choice is little more than a guess
FEW: Final = 12


@final
@dataclass(frozen=True)
class Group:
    """The runs that differ only in their seed."""

    choices: Mapping[str, str]
    rows: Sequence[Row]

    @property
    def done(self) -> list[Row]:
        """The runs that did not fail."""
        return [row for row in self.rows if not row.failure]

    def values(self, quantity: Quantity) -> list[float]:
        """The quantity of every run that has it, in the unit of the table."""
        return [row.found[quantity.key] * quantity.factor for row in self.done if quantity.key in row.found]

    def mean(self, quantity: Quantity) -> float | None:
        """The mean over the seeds."""
        values = self.values(quantity)
        return statistics.fmean(values) if values else None

    def sigma(self, quantity: Quantity) -> float | None:
        """The standard deviation over the seeds, √(Σ(x − x̄)²/(n − 1)); none for a single run."""
        values = self.values(quantity)
        return statistics.stdev(values) if len(values) > 1 else None


@final
@dataclass(frozen=True)
class Share:
    """How much of the variance of ln(error) a choice explains, and how much one without any effect would on average."""

    factor: str
    share: float
    by_chance: float


def groups(rows: Sequence[Row]) -> list[Group]:
    """The rows by everything that differs but the seed, in the order in which they are first met."""
    keys = [key for key in factors(rows) if key != SEED]
    found: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.choices.get(key) for key in keys), []).append(row)
    return [Group({key: value for key, value in zip(keys, values, strict=True) if value is not None}, own) for values, own in found.items()]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the front: no other is at least as good in both coordinates and better in one (less is better)."""
    best, front = math.inf, set()
    for point in sorted(set(points)):
        if point[1] < best:
            front.add(point)
            best = point[1]
    return [point in front for point in points]


def importance(rows: Sequence[Row]) -> list[Share] | str:
    """The main effects of an analysis of variance, or why there is none.

    With y = ln(error) of each run, the share of a factor A is η²_A = Σ_a n_a (ȳ_a − ȳ)² / Σ (y − ȳ)², where a runs over the options of A
    and n_a runs have option a. In a full grid, where every combination occurs equally often, these shares add up to at most 1; what is left
    are interactions. A factor of k options without any effect has, among N runs, the share (k − 1)/(N − 1) on average.
    R. A. Fisher, Statistical Methods for Research Workers (1925); as the importance of hyperparameters: F. Hutter, H. Hoos and
    K. Leyton-Brown, Proc. Machine Learning Research 32, 754 (2014).
    """
    done = [row for row in rows if not row.failure]
    quantity, keys = decisive(rows), factors(done)
    if quantity is None or any(row.found[quantity.key] <= 0 for row in done):
        return "not known: the runs have no error in common"
    if len(done) < 3 or not keys:
        return "not known: it takes three runs that differ"
    counts = Counter(tuple(row.choices.get(key) for key in keys) for row in done)
    if len(counts) < math.prod(len({row.choices.get(key) for row in done}) for key in keys) or len(set(counts.values())) > 1:
        return "not known: the runs are no full grid, in which every combination occurs equally often"
    if len(keys) == 1 and len(counts) == len(done):
        return "not known: one choice differs, and every option was tried once; it takes every option twice, or a second choice"
    y = [math.log(row.found[quantity.key]) for row in done]
    total = sum((value - statistics.fmean(y)) ** 2 for value in y)
    if total == 0:
        return "not known: all errors are the same"
    return [_share(key, [str(row.choices.get(key)) for row in done], y, total) for key in keys]


def _share(key: str, options: Sequence[str], y: Sequence[float], total: float) -> Share:
    mean, explained = statistics.fmean(y), 0.0
    names = set(options)
    for name in names:
        own = [value for option, value in zip(options, y, strict=True) if option == name]
        explained += len(own) * (statistics.fmean(own) - mean) ** 2
    return Share(key, explained / total, (len(names) - 1) / (len(y) - 1))
