"""The space of a search: for every override what it may be."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, final

from annotated_types import Gt, Len

from nnpx.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: text that Hydra reads as something else unless it stands in quotes
_READ_OTHERWISE: Final = ("true", "false", "null", "nan", "inf", "yes", "no", "on", "off")


class Dimension(ABC):
    """What one override may be. A point of the space holds the value of every override as Optuna keeps it."""

    @abstractmethod
    def ends(self) -> list[Any]:
        """The values that are tried before the search begins: if they are valid, so is what lies between."""

    @abstractmethod
    def distribution(self) -> "BaseDistribution":
        """The same for Optuna."""

    @abstractmethod
    def problems(self, where: str) -> list[ConfigError]:
        """Contradictions among its own numbers."""


@final
class Interval(Dimension):
    """Numbers between two bounds, both included.

    Args:
        low: lower bound.
        high: upper bound.
        type: whether the numbers are whole.
        log: whether every decade is as likely as every other.
        step: distance of the numbers, counted from `low`; null for no grid.
    """

    def __init__(
        self, *, low: float, high: float, type: Literal["float", "int"], log: bool = False, step: Annotated[float, Gt(0)] | None = None
    ) -> None:
        self.low, self.high, self.type, self.log, self.step = low, high, type, log, step

    def ends(self) -> list[Any]:
        """Both bounds."""
        return [int(bound) if self.type == "int" else float(bound) for bound in (self.low, self.high)]

    def distribution(self) -> "BaseDistribution":
        """A distribution of floating-point or whole numbers."""
        from optuna.distributions import FloatDistribution, IntDistribution

        low, high = self.ends()
        if self.type == "int":
            return IntDistribution(low, high, self.log, int(self.step or 1))
        return FloatDistribution(low, high, self.log, self.step)

    def problems(self, where: str) -> list[ConfigError]:
        """Bounds in the wrong order, no logarithm, no whole number, a grid that misses its end."""
        low, high, step = self.low, self.high, self.step
        found = []
        if low >= high:
            found.append((f"low < high, {low:g} and {high:g}", "low ≥ high", "Exchange them."))
        if self.log and (low <= 0 or step is not None):
            found.append(("low > 0 and no step beside log: true", f"low: {low:g}, step: {step}", "Drop log or change the others."))
        if self.type == "int" and any(number is not None and number != int(number) for number in (low, high, step)):
            found.append(("whole numbers for type: int", f"{low:g}, {high:g}, step {step}", "Round them or write type: float."))
        steps = (high - low) / step if step else 0.0
        if abs(steps - round(steps)) > 1e-9:
            found.append((f"a whole number of steps of {step} from {low:g} to {high:g}", f"{steps:.3g}", "Change step or high."))
        return [ConfigError(where, expected=expected, found=given, do=do) for expected, given, do in found]


@final
class Choices(Dimension):
    """Some values, none nearer to another: options of a group, lists, words.

    Args:
        choices: the values.
    """

    def __init__(self, *, choices: Annotated[list[Any], Len(1)]) -> None:
        self.choices = choices

    def ends(self) -> list[Any]:
        """Every choice, as one writes it behind `key=`."""
        return [_as_text(choice) for choice in self.choices]

    def distribution(self) -> "BaseDistribution":
        """A distribution of the texts behind `key=`: Optuna keeps text and numbers only."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.ends())

    def problems(self, where: str) -> list[ConfigError]:
        """The same choice twice."""
        texts = self.ends()
        twice = sorted({text for text in texts if texts.count(text) > 1})
        do = "Name each choice once."
        return [ConfigError(where, expected="choices that differ", found=f"{text} twice", do=do) for text in twice]


def overrides_of(point: Mapping[str, Any]) -> list[str]:
    """The overrides that lead to a point of the space, in Hydra's grammar; numbers with all their digits."""
    return [f"{key}={value if isinstance(value, str) else repr(value)}" for key, value in point.items()]


def corners(space: Mapping[str, Dimension]) -> list[dict[str, Any]]:
    """Points that together hold every end of every dimension; the first two are those of all first and all last ends."""
    ends = {key: dimension.ends() for key, dimension in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    single = [{**first, key: value} for key, values in ends.items() for value in values[1:]]
    points = [first, {key: values[-1] for key, values in ends.items()}, *single]
    return [point for k, point in enumerate(points) if point not in points[:k]]


def _as_text(value: object) -> str:
    if isinstance(value, str):
        bare = re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value.lower() not in _READ_OTHERWISE
        return value if bare else "'" + value.replace("'", r"\'") + "'"
    if isinstance(value, list):
        return f"[{','.join(_as_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_as_text(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
