"""Processes that compute beside this one: their environment, and their end."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from math import ceil, isfinite
from pathlib import Path
from typing import Final

#: one thread for the numerical libraries of a process: more would change sums, and other processes keep the other cores busy
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
#: how often a thread of torch's looks whether the others have come before it gives up its core, some 0.2 ms in all; libgomp's own 300,000
#: are more than the turn that another process is given there, whose end all would wait for after every operation
_LOOKS: Final = "5000"
#: what this process said of threads, for itself and those that it starts
_OWN_WORDS: Final[dict[str, str]] = {}
#: µs of processor time in every so many µs, or "max"; a container sees its own (docs.kernel.org/admin-guide/cgroup-v2.html)
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def count_cores() -> int:
    """Cores that this process may use: its affinity, the quota of a container or a job of Slurm may grant fewer than the machine has."""
    of_machine = _of_machine()
    granted = [of_machine, _quota(of_machine)]
    with suppress(KeyError, ValueError):
        granted.append(int(os.environ["SLURM_CPUS_ON_NODE"]))  # where Slurm counts them and does not tie processes to them
    return max(1, min(granted))


def _of_machine() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota(of_machine: int) -> int:
    """Cores' worth of time that a control group grants, rounded up; where there is none, all that the machine has."""
    try:
        time, period = _QUOTA.read_text().split()
        return ceil(int(time) / int(period))  # "max", where nothing is limited, is no number
    except (OSError, ValueError):
        return of_machine


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for this process and those that it starts, inside the block.

    Spawned processes read the number of threads when they load their libraries, so it must be there before.
    """
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def share_cores() -> None:
    """Threads of torch's are as many as cores were granted, and wait for each other without keeping others from a core.

    Torch counts the cores of the machine, whatever a container or a batch system grants. For the beginning of a process, as torch reads it
    when it is loaded; it holds for processes that this one starts, too. Who has said how many threads, or how to wait, is not contradicted.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        _OWN_WORDS["GOMP_SPINCOUNT"] = _LOOKS
    if "OMP_NUM_THREADS" not in os.environ and (granted := count_cores()) < _of_machine():
        _OWN_WORDS["OMP_NUM_THREADS"] = str(granted)
    os.environ.update(_OWN_WORDS)


def environment_of_others() -> dict[str, str]:
    """For programs that may compute elsewhere: the environment without what `share_cores` added to it."""
    return {key: value for key, value in os.environ.items() if _OWN_WORDS.get(key) != value}


def end_with_parent() -> None:
    """From now on this process ends when its parent does, however that was killed: an orphan would wait, or compute, for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def ends_after(seconds: float) -> Iterator[None]:
    """The kernel ends this process when the block has had its time, whatever it is at. For the main thread."""
    if isfinite(seconds):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def end_pool(pool: ProcessPoolExecutor) -> None:
    """Ends the processes of a pool, whatever they are at."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)  # which forgets them
    for worker in workers:
        worker.terminate()
        worker.join()


def begin_group() -> None:
    """From now on programs that this process starts can be ended with it, by `end_group`."""
    os.setsid()


def end_group(pid: int) -> None:
    """Ends a process that has begun a group, and all that it has started; what has ended already stays so."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _follow(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    if os.getpgrp() == os.getpid():
        end_group(os.getpid())
    os._exit(1)
