"""What came out of a search: the best trials, what mattered, and a page that shows it."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import optuna
import yaml
from matplotlib.figure import Figure
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from nnpx.report import Cell, Section, Table, write_page
from nnpx.results import save_pictures
from nnpx.tuning import figures
from nnpx.tuning.search import Declared
from nnpx.tuning.store import FAILURE, best_trials, counted

#: rows of the table of one objective
_SHOWN: Final = 10
#: completed trials that an analysis of variance needs to mean anything
_ENOUGH: Final = 8


def best_table(study: optuna.Study, declared: Declared) -> Table:
    """The best trials with their objectives and overrides: the Pareto front where there are several objectives."""
    objectives, space = declared.search.objectives, declared.search.space
    best = best_trials(study, objectives)[: _SHOWN if len(objectives) == 1 else None]
    rows: list[Sequence[Cell]] = [(str(one.number), *one.values, *(one.params[key] for key in space)) for one in best]
    return Table("Best trials" if len(objectives) == 1 else "Pareto front", ("trial", *objectives, *space), rows)


def count_table(study: optuna.Study) -> Table:
    """How many trials ended in which way."""
    names = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed", TrialState.RUNNING: "not finished"}
    trials = counted(study)
    counts = {name: sum(trial.state == state for trial in trials) for state, name in names.items()}
    return Table("Trials", ("", ""), [(name, n) for name, n in counts.items() if n])


def failure_table(study: optuna.Study) -> Table:
    """Every trial that failed, and why."""
    failed = [(str(one.number), str(one.user_attrs.get(FAILURE, ""))) for one in counted(study) if one.state == TrialState.FAIL]
    return Table("Failed", ("trial", "why"), failed)


def importance(study: optuna.Study, declared: Declared) -> dict[str, dict[str, float]]:
    """For every objective the share of every override in its variance over the space, the largest first.

    A random forest is fitted to the completed trials and its variance divided (fANOVA, Hutter et al. 2014). Empty where there are too few
    trials, or none differ.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = {}
    for k, name in enumerate(declared.search.objectives):
        if len(trials) < _ENOUGH or len({trial.values[k] for trial in trials}) == 1:
            continue
        evaluator = FanovaImportanceEvaluator(seed=declared.search.sampler.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = get_param_importances(study, evaluator=evaluator, target=partial(_value, k))
        found[name] = {key: float(share) for key, share in shares.items()}
    return found


def importance_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """The shares, one column per objective."""
    keys = list(next(iter(found.values()), {}))
    return Table("Importance (share of the variance)", ("", *found), [(key, *(shares[key] for shares in found.values())) for key in keys])


def write_report(study: optuna.Study, declared: Declared, folder: Path, base: str) -> tuple[Path, list[Table]]:
    """Writes report.html and figures/ into the study's folder; returns the page, and its tables for the terminal.

    Args:
        study: what was found.
        declared: what was looked for.
        folder: the study's.
        base: one experiment of the space, as YAML.
    """
    shares = importance(study, declared)
    tables = [best_table(study, declared), importance_table(shares), count_table(study), failure_table(study)]
    tables = [table for table in tables if table.rows]
    pictures = save_pictures(folder / "figures", _drawn(study, declared, shares))
    texts = [("Search", yaml.safe_dump(declared.node, sort_keys=False, allow_unicode=True)), ("An experiment of the space", base)]
    page = folder / "report.html"
    write_page(page, f"Search {folder.name}", [Section("Outcome", tables, pictures), Section("Search", folded=texts)])
    return page, tables


def _value(objective: int, trial: FrozenTrial) -> float:
    return float(trial.values[objective])


def _drawn(study: optuna.Study, declared: Declared, shares: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[Figure, str]]:
    objectives = declared.search.objectives
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        return {}
    first, pruned = next(iter(objectives)), study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    stopped = [trial for trial in pruned if trial.values]
    drawn = {
        "history": (figures.history(trials, stopped, objectives), "The trials in their order."),
        "slices": (figures.slices(trials, declared.search.space, first), f"{first} against every override; later trials are darker."),
    }
    if len(objectives) > 1:
        front = best_trials(study, objectives)
        drawn["pareto"] = (
            figures.pareto(trials, front, list(objectives)),
            "No other trial is better in all objectives than one of the front.",
        )
    if shares:
        drawn["importances"] = (figures.importances(shares), "What the objectives depend on most.")
    return drawn
