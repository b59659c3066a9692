"""What came out the second time: identical, equal within tolerance, or different, and in what."""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal

from safetensors import safe_open

from nnpx.files import read_json
from nnpx.provenance import cpu_name, requirements
from nnpx.reproduction.place import Place
from nnpx.reproduction.recorded import Curve, Recorded
from nnpx.results import metric_names

#: relative difference of an error up to which two trainings count as equal: a tenth of what two seeds commonly differ in
TOLERANCE: Final = 0.01
#: metrics that measure the machine and not the potential
TIMES: Final = ("wall_s", "us_per_atom", "ns_per_day", "epoch_s", "seconds")

Outcome = Literal["identical", "equal within tolerance", "different"]


@dataclass(frozen=True)
class Row:
    """One number, as it was recorded and as it came out again."""

    name: str
    recorded: float
    again: float

    @property
    def difference(self) -> float:
        """Again − recorded."""
        return self.again - self.recorded

    @property
    def is_same(self) -> bool:
        """To the last bit, or both NaN."""
        return self.recorded == self.again or (math.isnan(self.recorded) and math.isnan(self.again))

    @property
    def is_close(self) -> bool:
        """|again − recorded| ≤ TOLERANCE · |recorded|."""
        return self.is_same or abs(self.difference) <= TOLERANCE * abs(self.recorded)


@dataclass(frozen=True)
class Verdict:
    """The comparison.

    Attributes:
        outcome: in two words.
        reason: what it rests on.
        differences: of data, code and environment.
        rows: numbers of both trainings.
    """

    outcome: Outcome
    reason: str
    differences: list[str]
    rows: list[Row]


def compare(recorded: Recorded, place: Place) -> Verdict:
    """Compare what was recorded with what lies in the folder now."""
    potential = place.workspace / "models" / "potential.nnpx"
    training = read_json(place.workspace / "models" / "training.json")
    curves: list[Curve] = [member["curve"] for member in training["members"]]
    rows = [*_last_epochs(recorded, curves), *_metrics(recorded, place.workspace, training)]
    differences = [*place.differences, *environment(recorded)]
    change = weight_change(recorded.potential, potential) if recorded.potential else None
    departure = first_departure(recorded.curves, curves)
    if change == 0.0 and departure is None and all(row.is_same for row in rows):
        told = f"weights and learning curves of {len(curves)} members agree to the last bit"
        return Verdict("identical", told, differences, rows)
    weights = "the weights were not recorded" if change is None else f"weights differ by up to {change:.3g}"
    course = "" if departure is None else f", learning curves from epoch {departure} on"
    if rows and all(row.is_close for row in rows) and not place.differences:
        return Verdict("equal within tolerance", f"every error within {TOLERANCE:.0%}; {weights}{course}", differences, rows)
    far = sum(not row.is_close for row in rows)
    return Verdict("different", f"{far} of {len(rows)} numbers differ by more than {TOLERANCE:.0%}; {weights}{course}", differences, rows)


def environment(recorded: Recorded) -> list[str]:
    """In what Python, packages and processor are not those of the recorded training."""
    installed, told = requirements(), recorded.provenance
    found = []
    for name, now in (("python", platform.python_version()), ("cpu", cpu_name())):
        if told.get(name, now) != now:
            found.append(f"environment: {name} {told[name]} recorded, {now} here")
    for name, version in recorded.versions.items():
        if installed.get(name) != version:
            found.append(f"environment: {name} {version} recorded, {installed.get(name, 'nothing')} installed")
    return found


def weight_change(before: Path, after: Path) -> float:
    """Max |Δw| over all weights of all members; infinite where their names or shapes differ."""
    with safe_open(before, framework="pt") as old, safe_open(after, framework="pt") as new:
        names = list(old.keys())
        if sorted(names) != sorted(new.keys()):
            return math.inf
        pairs = [(old.get_tensor(name), new.get_tensor(name)) for name in names]
    if any(one.shape != other.shape for one, other in pairs):
        return math.inf
    return max((float((one.double() - other.double()).abs().max()) for one, other in pairs if one.numel()), default=0.0)


def first_departure(before: list[Curve], after: list[Curve]) -> int | None:
    """The first epoch in which a member's curve is not the recorded one; None where all that was recorded is the same."""
    nothing: Mapping[str, float | int | None] = {}
    epochs = [
        int((one or other)["epoch"] or 0)
        for old, new in zip(before, after, strict=False)
        for one, other in zip_longest(old, new, fillvalue=nothing)
        if not one or any(not _same(value, other.get(key)) for key, value in one.items() if _counts(key))
    ]
    return min(epochs, default=None)


def _same(one: float | int | None, other: float | int | None) -> bool:
    if one is None or other is None:
        return (one is None or math.isnan(one)) and (other is None or math.isnan(other))
    return Row("", float(one), float(other)).is_same


def _counts(key: str) -> bool:
    return not key.endswith(TIMES)


def _last_epochs(recorded: Recorded, curves: list[Curve]) -> list[Row]:
    return [
        Row(f"member {number}: {key}", float(value), float(again))
        for number, (old, new) in enumerate(zip(recorded.last_epochs, curves, strict=False))
        for key, value in old.items()
        if _counts(key) and value is not None and (again := new[-1].get(key)) is not None
    ]


def _metrics(recorded: Recorded, workspace: Path, training: Mapping[str, Any]) -> list[Row]:
    evaluation = read_json(workspace / "reports" / "evaluation" / "metrics.json")
    errors: dict[str, dict[str, Any]] = {part: evaluation[part] for part in ("test", "valid") if part in evaluation}
    again = {**training.get("outcome", {}), **metric_names(errors)}
    return [
        Row(name, float(value), float(again[name]))
        for name, value in sorted(recorded.metrics.items())
        if again.get(name) is not None and _counts(name) and name != "n_parameters"
    ]
