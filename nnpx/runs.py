"""The runs of a project, found by what a person types: an id, the beginning of one, or a registered potential with its alias."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from nnpx.config import compose, instantiate, load_params
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError
from nnpx.registry import Registry
from nnpx.tracking.mlflow import MLflow
from nnpx.tracking.store import KEY_TAG, Refused, Unreachable

T = TypeVar("T")
#: digits that a shortened id is shown with
SHORT: Final = 8


def project_tracker(project: Path) -> MLflow:
    """The tracker of a project: that of its params.yaml, else that of conf/.

    Raises:
        ConfigError: the project keeps no runs.
    """
    params = project / "params.yaml"
    node = (load_params(params) if params.is_file() else compose()).get("tracking")
    tracker = instantiate(node, workspace=project) if node is not None else None
    if not isinstance(tracker, MLflow):
        do = "Choose tracking=mlflow when composing params.yaml."
        raise ConfigError("tracking", expected="a tracker that keeps runs", found=type(tracker).__name__, do=do)
    return tracker


def registered_file(address: str, project: Path) -> Path:
    """The file of a registered potential of a project, `models:/name@champion`.

    Raises:
        ArtifactError: there is no such potential, or the store does not answer.
    """
    return Registry(project_tracker(project).store).file(address)


def all_runs(tracker: MLflow) -> list[Any]:
    """Every run of the project's experiment, the newest first, as MLflow's `Run`.

    Raises:
        ConfigError: the store does not answer.
    """
    store, found, token = tracker.store, [], None
    experiment = answer(tracker, store.experiment_id)
    while True:
        page: Any = answer(tracker, partial(store.client.search_runs, [experiment], max_results=1000, page_token=token))
        found += page
        token = page.token
        if not token:
            return found


def find_run(tracker: MLflow, word: str, *, otherwise: str = "") -> Any:
    """The run that a word names: its id, the beginning of its id, the id it began with, or `name@alias`.

    Args:
        tracker: of the project.
        word: what a person typed.
        otherwise: what the word could have been, where it need not be a run.

    Raises:
        ConfigError: there is no such run, or there are several.
        ArtifactError: there is no such registered potential.
    """
    if "@" in word:
        return run_of(tracker, Registry(tracker.store).version(word).run_id)
    runs = all_runs(tracker)
    exact = [run for run in runs if word in (run.info.run_id, run.data.tags.get(KEY_TAG))]
    matches = exact or [run for run in runs if word and run.info.run_id.startswith(word)]
    if not matches:
        raise _unknown(tracker, word, runs, otherwise)
    if len(matches) > 1:
        shown = ", ".join(f"{run.info.run_id[: len(word) + 4]}… ({run.info.run_name})" for run in matches[:5])
        raise ConfigError(word, expected="the beginning of one run's id", found=f"{len(matches)} runs: {shown}", do="Give more digits.")
    return matches[0]


def run_of(tracker: MLflow, run_id: str) -> Any:
    """MLflow's `Run` of an id.

    Raises:
        ConfigError: the store does not answer or has no such run.
    """
    return answer(tracker, lambda: tracker.store.client.get_run(run_id))


def answer(tracker: MLflow, question: Callable[[], T]) -> T:
    """What the store answers.

    Raises:
        ConfigError: it does not, or declines.
    """
    try:
        return tracker.store.ask(question)
    except (Unreachable, Refused) as problem:
        do = "Start the server, or correct tracking.uri."
        raise ConfigError("runs", expected=f"an answer of {tracker.store.place}", found=str(problem), do=do) from problem


def _unknown(tracker: MLflow, word: str, runs: list[Any], otherwise: str) -> ConfigError:
    shown = {run.info.run_id[: max(SHORT, len(word))]: run for run in runs}
    near = suggest(word, shown)
    named = [run for run in runs if word == run.info.run_name] or runs
    latest = ", ".join(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in named[:3])
    do = near or (f"The latest are {latest}." if latest else "Run `nnpx train` first.")
    if otherwise:
        return ConfigError(word, expected=otherwise, found="none of them", do=do)
    return ConfigError(word, expected=f"a run of {tracker.store.place}", found="none whose id begins so", do=do)
