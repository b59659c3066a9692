"""The champion is who errs least and conserves energy."""

from math import isfinite
from typing import Annotated, final

from annotated_types import Gt

from nnpx.promotion import Measured, Rule, Verdict


@final
class LowerError(Rule):
    """error(candidate) < factor · error(champion), and |m| ≤ bound for every bounded metric m.

    Args:
        metric: the error that decides.
        factor: below 1 asks for more than the scatter between two seeds.
        bounds: upper bounds of the magnitude of other metrics, in their units.
    """

    def __init__(self, *, metric: str, factor: Annotated[float, Gt(0)], bounds: dict[str, Annotated[float, Gt(0)]]) -> None:
        self.metric, self.factor, self.bounds = metric, factor, bounds

    def judge(self, candidate: Measured, champion: Measured | None) -> Verdict:
        """Every condition is told, also those that hold."""
        told = [self._error(candidate, champion), *(_bound(candidate, metric, bound) for metric, bound in self.bounds.items())]
        return Verdict(all(holds for holds, _ in told), [f"{'yes' if holds else 'no'}: {reason}" for holds, reason in told])

    def _error(self, candidate: Measured, champion: Measured | None) -> tuple[bool, str]:
        own = candidate.metrics.get(self.metric)
        if own is None or not isfinite(own):
            return False, f"{self.metric} of {candidate.name} was not measured{'' if own is None else f' ({own})'}; run `nnpx evaluate`"
        if champion is None:
            return True, f"{self.metric} is {own:.6g}, and there is no champion yet"
        if not candidate.test_data or candidate.test_data != champion.test_data:
            return False, f"{self.metric} of {candidate.name} and of {champion.name} were measured on different data"
        best = champion.metrics.get(self.metric)
        if best is None or not isfinite(best):
            return False, f"{self.metric} of {champion.name}, the champion, was never measured; run `nnpx evaluate` with it"
        sign = "<" if own < self.factor * best else "≥"
        return own < self.factor * best, f"{self.metric} {own:.6g} {sign} {self.factor:g} × {best:.6g} ({champion.name})"


def _bound(candidate: Measured, metric: str, bound: float) -> tuple[bool, str]:
    value = candidate.metrics.get(metric)
    if value is None:
        return False, f"{metric} was not measured; run `nnpx simulate`"
    holds = abs(value) <= bound  # NaN is within no bound
    return holds, f"|{metric}| {abs(value):.6g} {'≤' if holds else '>'} {bound:g}"
