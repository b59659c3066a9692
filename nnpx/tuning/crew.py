"""The workers of a search, and somebody who minds them."""

import math
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from typing import Final

import optuna

from nnpx.errors import TrainingError
from nnpx.processes import count_cores, environment, environment_of_others
from nnpx.tuning.store import give_back_running, n_left
from nnpx.tuning.worker import Order, work

#: s; between two looks at the workers
_POLL_S: Final = 0.3
#: s; that a worker has to write down what it was doing
_FAREWELL_S: Final = 20


def search_in_processes(order: Order, study: optuna.Study, look: Callable[[], None]) -> None:
    """Starts the workers and waits for them; one that is killed is replaced, and its trial tried once more.

    Args:
        order: what to do.
        study: the study that they work on.
        look: called again and again until they have finished.

    Raises:
        TrainingError: if workers die before they have begun a trial.
    """
    give_back_running(study)  # nobody else works on this study: what runs has been killed
    if not n_left(study, order.search):
        return
    crew = [_start(order) for _ in range(order.search.n_workers)]
    try:
        while crew:
            time.sleep(_POLL_S)
            look()
            ended = [worker for worker in crew if not worker.is_alive()]
            crew = [worker for worker in crew if worker not in ended]
            for worker in ended:
                if worker.exitcode != 0:
                    _mourn(study, worker)
                    crew.append(_start(order))
    finally:
        _stop(crew)


def _mourn(study: optuna.Study, dead: SpawnProcess) -> None:
    """Gives back the trial of a worker that died; one that had none would be followed by the next."""
    if not give_back_running(study, [dead.pid or -1]):
        do = "Read what it wrote above."
        raise TrainingError("worker", expected="a process that lives", found=f"the end of it with code {dead.exitcode}", do=do)


def _start(order: Order) -> SpawnProcess:
    threads = max(1, math.floor(count_cores() / order.search.n_workers))
    said = environment_of_others().get("OMP_NUM_THREADS", str(threads))
    process = get_context("spawn").Process(target=work, args=(order,))
    with environment({"OMP_NUM_THREADS": said}):
        process.start()
    return process


def _stop(crew: list[SpawnProcess]) -> None:
    """Ends the workers after they have given back their trials."""
    for worker in crew:
        worker.terminate()
    until = time.monotonic() + _FAREWELL_S
    for worker in crew:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()
