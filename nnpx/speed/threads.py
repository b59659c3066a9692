"""Threads that compute beside each other: what is local can be found for some atoms without waiting for the others.

Left to itself torch shares the numbers of every single operation among its threads, which wait for each other after each, and wait
busily: with some hundred atoms that costs what it gains, and nobody else has the processor. Where somebody else does, all wait after every
operation until the system lets the last one go on, milliseconds each time: updates and evaluations take up to seventy times as long
(tests/benchmarks/RESULTS.md, "Beside other programs").

Here every thread has its own atoms: with many atoms it does all that is done to them, and the others wait for it once (`in_threads`; every
thread needs the memory for its own); with few only the loops (`nnpx.speed.loops`) are shared, which take a large part of the time
(`in_parts`), and torch has one thread meanwhile (`for_loops`). Only where its operations are large it has more.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from itertools import pairwise
from threading import Barrier, RLock
from typing import Final, TypeVar, final

import torch

#: atoms for which another thread is worth its beginning
FEWEST_ATOMS: Final = 64
#: atoms for which another thread of torch's is worth that all wait for each other, where most of the work is done in loops
FEWEST_ATOMS_BESIDE_LOOPS: Final = 256

_T = TypeVar("_T")
_R = TypeVar("_R")

_IN_ONE_THREAD: Final = ContextVar("_IN_ONE_THREAD", default=False)
#: how many threads loops may have within `for_loops`, where torch has one; 0 elsewhere
_FOR_LOOPS: Final = ContextVar("_FOR_LOOPS", default=0)


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Within, nothing is shared among threads here: whoever notes operations sees those of its own thread only."""
    token = _IN_ONE_THREAD.set(True)
    try:
        yield
    finally:
        _IN_ONE_THREAD.reset(token)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Within, a thread is alone: for what it would change for all of them."""
    with _SHARED.turn:
        yield


def n_threads() -> int:
    """How many threads may share work here: as many as torch has, which OMP_NUM_THREADS and torch.set_num_threads decide."""
    return 1 if _IN_ONE_THREAD.get() else _FOR_LOOPS.get() or torch.get_num_threads()


@contextmanager
def for_loops(of_torch: int = 1) -> Iterator[None]:
    """Context manager: torch computes with one thread, or with so many at most, and loops with all that torch had.

    A thread that asks torch for its first number meanwhile is given as many of torch's threads, too, and keeps that.
    """
    threads = n_threads()
    token, before = _FOR_LOOPS.set(threads), torch.get_num_threads()
    try:
        if before > of_torch:  # torch would remember it for threads to come
            torch.set_num_threads(of_torch)
        yield
    finally:
        if before > of_torch:
            torch.set_num_threads(before)
        _FOR_LOOPS.reset(token)


def in_parts(loop: Callable[[tuple[int, int]], _R], n_atoms: int, *, fewest: int = FEWEST_ATOMS) -> list[_R]:
    """What a loop finds for parts of all atoms, about equal and in order, each in a thread of its own.

    Args:
        loop: of the first atom of a part, and one more than its last; without Python's lock, or the threads wait for each other.
        n_atoms: how many there are.
        fewest: of a part.
    """
    parts = n_atoms // fewest
    if parts < 2 or (parts := min(parts, n_threads())) < 2:
        return [loop((0, n_atoms))]
    bounds = list(pairwise(part * n_atoms // parts for part in range(parts + 1)))
    futures: list[Future[_R]] = []
    try:
        with suppress(RuntimeError):  # no thread can be had
            pool = _SHARED.pool(n_threads())
            for part in bounds[1:]:
                futures.append(pool.submit(loop, part))
        first = loop(bounds[0])
        # what no thread has begun, as others keep them busy, is done here
        others = [loop(part) if own.cancel() else own.result() for own, part in zip(futures, bounds[1:], strict=False)]
        return [first, *others, *(loop(part) for part in bounds[1 + len(futures) :])]
    finally:
        _end(futures)


def in_threads(function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """The function of every item, in order, several at once, each with one thread of torch, and so without more threads in it.

    Context variables and whether gradients are noted are those of who asks; nothing else that holds for one thread only is handed on. The
    first error is raised when all that has begun has ended; no more begins.
    """
    given, threads = list(items), n_threads()
    if threads == 1 or len(given) < 2:
        return [function(item) for item in given]
    with_gradients = torch.is_grad_enabled()

    def work(item: _T) -> _R:
        with in_one_thread(), torch.set_grad_enabled(with_gradients):
            return function(item)

    futures: list[Future[_R]] = []
    try:
        with suppress(RuntimeError):  # Python is about to end, or the system has none left: no thread can be had
            pool = _SHARED.pool(threads)
            for item in given:
                futures.append(pool.submit(copy_context().run, work, item))
        return [*(future.result() for future in futures), *(function(item) for item in given[len(futures) :])]
    finally:
        _end(futures)


def _end(futures: Iterable[Future[_R]]) -> None:
    """Waits for what has begun; nothing else of it begins, and nobody waits until a thread, busy with others, sees what was taken back."""
    wait([future for future in futures if not future.cancel()])


@final
class _Shared:
    """What the threads of a process share; one that is forked has no threads but its own, and begins anew."""

    def __init__(self) -> None:
        self.begin_anew()
        os.register_at_fork(after_in_child=self.begin_anew)

    def begin_anew(self) -> None:
        """Nobody's turn, and no threads."""
        self.turn = RLock()
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def pool(self, threads: int) -> ThreadPoolExecutor:
        """So many threads, each with one of torch for good."""
        with self.turn:
            if threads not in self._pools:
                self._pools[threads] = _pool(threads)
            return self._pools[threads]


def _pool(threads: int) -> ThreadPoolExecutor:
    pool, all_there, before = ThreadPoolExecutor(threads, "nnpx"), Barrier(threads), torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()  # a thread that asks for the first time is given as many as others have
        torch.set_num_threads(1)
        all_there.wait()

    try:
        wait([pool.submit(begin) for _ in range(threads)])
    except RuntimeError:
        all_there.abort()
        raise
    finally:
        torch.set_num_threads(before)  # for threads to come, which would be given one
    return pool


_SHARED: Final = _Shared()
