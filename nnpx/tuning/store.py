"""The memory of a search: an Optuna study in a file, which several processes write, and what became of its trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import optuna
from filelock import FileLock
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from nnpx.tuning.search import Search

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: s; how long a process waits for another that writes to the database
_PATIENCE_S: Final = 60
#: notes on a trial
RUN_ID: Final = "run_id"  #: its run in the record of runs
FAILURE: Final = "failure"  #: why it failed
_WORKER: Final = "worker"  #: the process that it runs in
_GIVEN_BACK: Final = "given_back"  #: it did not end, and stands in the queue again
CONTINUES: Final = "continues"  #: the trial that did not end, whose place it takes
_KILLS: Final = "kills"  #: how often the worker of this point was killed


@final
class _FileLock:
    """A lock that the system releases when its owner is killed: Optuna's own would be waited for."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def open_study(folder: Path, search: Search) -> optuna.Study:
    """The study in this folder, created where there is none; its name is that of the folder."""
    directions = list(search.objectives.values())
    return optuna.create_study(storage=_storage(folder, search), study_name=folder.name, directions=directions, load_if_exists=True)


def next_trial(study: optuna.Study, search: Search, folder: Path) -> Trial | None:
    """The next trial, or None when the search has as many as it was meant to have. One process asks at a time."""
    with FileLock(folder / "ask.lock"):
        if not n_left(study, search):
            return None
        study.sampler = search.sampler.build(len(counted(study)))
        return study.ask({key: dimension.distribution() for key, dimension in search.space.items()})


def note_worker(trial: Trial, pid: int) -> None:
    """Remember the process that a trial runs in."""
    trial.set_user_attr(_WORKER, pid)


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have begun, without those whose point was given back."""
    begun = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    return [trial for trial in begun if not trial.user_attrs.get(_GIVEN_BACK)]


def n_left(study: optuna.Study, search: Search) -> int:
    """How many trials are still to begin."""
    return max(0, search.n_trials - len(counted(study)))


def give_back(study: optuna.Study, trial: FrozenTrial, *, killed: bool) -> bool:
    """Ends a trial that did not finish, and puts its point in the queue again.

    The second time that the worker of the same point is killed, the point may be the reason: it fails.

    Returns:
        Whether the point will be tried again.
    """
    kills = int(trial.user_attrs.get(_KILLS, 0)) + killed
    again = kills <= 1
    storage = study._storage  # a study has no way to note something on a trial of another process
    if again:
        storage.set_trial_user_attr(trial._trial_id, _GIVEN_BACK, True)
        study.enqueue_trial(trial.params, user_attrs={CONTINUES: trial.number, _KILLS: kills})
    else:
        storage.set_trial_user_attr(trial._trial_id, FAILURE, "its process was killed twice")
    study.tell(trial.number, state=TrialState.FAIL)
    return again


def give_back_running(study: optuna.Study, pids: Sequence[int] | None = None) -> int:
    """Gives back the trials that these processes, which are dead, left running; None for all. Returns how many there were."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    left = [trial for trial in running if pids is None or trial.user_attrs.get(_WORKER) in pids]
    for trial in left:
        give_back(study, trial, killed=True)
    return len(left)


def best_trials(study: optuna.Study, directions: Mapping[str, str]) -> list[FrozenTrial]:
    """The completed trials that count: all from the best on for one objective, the Pareto front (by the first objective) for several."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    chosen = complete if len(directions) == 1 else study.best_trials
    sign = 1 if next(iter(directions.values())) == "minimize" else -1
    return sorted(chosen, key=lambda trial: (sign * trial.values[0], trial.number))


def _storage(folder: Path, search: Search) -> Any:
    if search.storage == "journal":
        backend = JournalFileBackend(str(folder / "study.journal"), _FileLock(folder / "journal.lock"))  # type: ignore[arg-type]  # Optuna asks for its own lock class where the same methods are enough
        return optuna.storages.JournalStorage(backend)
    with FileLock(folder / "create.lock"):  # two processes that create a database destroy it
        return optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": _PATIENCE_S}})
