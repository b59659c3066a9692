"""When a loop has learned enough, or spent enough."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, final

from annotated_types import Ge, Gt


@final
class Stopping:
    """Rules that are written down before the first round; null leaves one out.

    A loop has learned enough when in the last `patience` rounds all three of these held: walkers hardly met anything uncertain, the
    calibrated spread along their way was small, and so was the error on frames drawn from it at random and labelled afresh. It has spent
    enough after `max_rounds` or `max_calls`. It is stuck when no walker could move, and nothing was found that could be labelled: every
    round to come would be the same.

    Args:
        candidate_fraction: share of the looks at walkers that may be uncertain, within the band or beyond.
        spread_q99: eV/Å; quantile 0.99 over frames of the largest calibrated spread; unknown, and so too large, while there are too few
            errors to calibrate it or noise explains them.
        force_rmse: eV/Å; root mean square error of the force on an atom, on frames that were drawn, not chosen.
        patience: rounds in a row.
        max_rounds: rounds.
        max_calls: calculations with the reference engine, those of the start and of checks included; a round that is begun is finished,
            and a start that takes them all is refused.
    """

    def __init__(
        self,
        *,
        candidate_fraction: Annotated[float, Ge(0)] | None,
        spread_q99: Annotated[float, Gt(0)] | None,
        force_rmse: Annotated[float, Gt(0)] | None,
        patience: Annotated[int, Ge(1)],
        max_rounds: Annotated[int, Ge(1)],
        max_calls: Annotated[int, Ge(1)] | None,
    ) -> None:
        targets = {"candidate_fraction": candidate_fraction, "spread_q99": spread_q99, "force_rmse": force_rmse}
        self.wanted = {name: target for name, target in targets.items() if target is not None}
        self.patience, self.max_rounds, self.max_calls = patience, max_rounds, max_calls

    def verdict(self, rounds: Sequence[Mapping[str, Any]]) -> str:
        """Why the loop ends after these rounds; nothing while it goes on.

        Args:
            rounds: report of every round that walked: `candidate_fraction`, `spread_q99`, `force_rmse`, `n_calls`, `walked_ps`,
                `n_labelled`, `n_failed`; None where unknown.
        """
        # rounds of an earlier version do not say how far walkers went
        if rounds and not any(rounds[-1].get(name, 1) for name in ("walked_ps", "n_labelled", "n_failed")):
            do = "in a new folder, begin elsewhere (learning.walkers.structures), or widen the band (acquisition.band.upper_factor)"
            return f"stuck: no walker can move, and there is nothing left to label; {do}"
        last = rounds[-self.patience :]
        if self.wanted and len(last) == self.patience and all(_holds(row, self.wanted) for row in last):
            told = ", ".join(f"{name} ≤ {target:g}" for name, target in self.wanted.items())
            return f"learned: {told}" + (f" in {self.patience} rounds" if self.patience > 1 else "")
        if len(rounds) >= self.max_rounds:
            return f"spent: {len(rounds)} rounds"
        if self.max_calls is not None and rounds and rounds[-1]["n_calls"] >= self.max_calls:
            return f"spent: {rounds[-1]['n_calls']} calculations"
        return ""


def _holds(row: Mapping[str, Any], wanted: Mapping[str, float]) -> bool:
    return all(row[name] is not None and row[name] <= target for name, target in wanted.items())
