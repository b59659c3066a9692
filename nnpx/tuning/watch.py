"""A search as its user sees it: a line for every trial, and a bar with the best so far and the time left."""

from types import TracebackType
from typing import final

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from nnpx.progress import Bars
from nnpx.report import text
from nnpx.tracking import Run
from nnpx.tuning.search import Search
from nnpx.tuning.store import FAILURE, best_trials, counted


@final
class Watch:
    """Tells of every trial when it has ended: on the terminal, and to the run of the search.

    Args:
        console: the terminal.
        study: what the workers write to.
        search: what they search.
        run: the run of the search; its metrics at step n are the objectives of trial n.
    """

    def __init__(self, console: Console, study: optuna.Study, search: Search, run: Run) -> None:
        self._console, self._study, self._search, self._run = console, study, search, run
        self._told = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
        self._bar = Bars(console, "tune")
        self._task = self._bar.add_task("trials", total=search.n_trials, said="")

    def __enter__(self) -> "Watch":
        self._bar.start()
        self.look()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.look()
        self._bar.stop()

    def look(self) -> None:
        """Tell what has ended since the last look."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in self._told:
                self._told.add(trial.number)
                self._console.print(f"tune: trial {trial.number} {self._said(trial)}", highlight=False, markup=False, soft_wrap=True)
                if trial.state == TrialState.COMPLETE:
                    self._run.log_metrics(dict(zip(self._search.objectives, trial.values, strict=True)), step=trial.number)
        n_done = sum(trial.state.is_finished() for trial in counted(self._study))
        self._bar.update(self._task, completed=n_done, said=f"{n_done} of {self._search.n_trials}  {self._best()}".rstrip())

    def _said(self, trial: FrozenTrial) -> str:
        words = " ".join(f"{key}={text(value)}" for key, value in trial.params.items())
        match trial.state:
            case TrialState.COMPLETE:
                values = ", ".join(f"{name} {text(value)}" for name, value in zip(self._search.objectives, trial.values, strict=True))
                return f"({words}): {values}"
            case TrialState.PRUNED:
                return f"({words}): stopped after epoch {trial.last_step}"
            case _ if FAILURE in trial.user_attrs:
                return f"({words}) failed: {trial.user_attrs[FAILURE]}"
            case _:
                return f"({words}) was interrupted: it will be tried again"

    def _best(self) -> str:
        if not (best := best_trials(self._study, self._search.objectives)):
            return ""
        if len(self._search.objectives) > 1:
            return f"{len(best)} on the Pareto front"
        (name,) = self._search.objectives
        return f"best {name} {text(best[0].values[0])} (trial {best[0].number})"
