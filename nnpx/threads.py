"""Threads that compute beside each other: what is local can be found for some atoms without waiting for the others.

Left to itself torch shares the numbers of every single operation among its threads, which wait for each other after each: with some hundred
atoms that costs what it gains, and our own loops (`nnpx.loops`) have one thread. Here every thread has its own atoms with all that is done
to them, and the others wait for it once.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import cache, partial
from typing import Final, TypeVar

import torch

_T = TypeVar("_T")
_R = TypeVar("_R")

_IN_ONE_THREAD: Final = ContextVar("_IN_ONE_THREAD", default=False)


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Within, nothing is shared among threads here: whoever notes operations sees those of its own thread only."""
    token = _IN_ONE_THREAD.set(True)
    try:
        yield
    finally:
        _IN_ONE_THREAD.reset(token)


def n_threads() -> int:
    """How many threads may share work here: as many as torch has, which OMP_NUM_THREADS and torch.set_num_threads decide."""
    return 1 if _IN_ONE_THREAD.get() else torch.get_num_threads()


def in_threads(function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """The function of every item, in order, several at once, each with one thread of torch.

    The first error ends it, after the items that have begun.
    """
    given, threads = list(items), n_threads()
    if threads == 1 or len(given) < 2:
        return [function(item) for item in given]
    work = partial(_work, function, torch.is_grad_enabled())
    torch.set_num_threads(1)  # for those below, too, which learn it when they begin
    try:
        return list(_pool(threads).map(work, [copy_context() for _ in given], given))
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "nnpx")


# a process that is forked has no threads but one
os.register_at_fork(after_in_child=_pool.cache_clear)


def _work(function: Callable[[_T], _R], with_gradients: bool, context: Context, item: _T) -> _R:
    """What a thread does: its context and whether it notes gradients are those of the thread that asked."""
    torch.get_num_threads()  # torch finds out for each thread when it is first asked
    with torch.set_grad_enabled(with_gradients):
        return context.run(function, item)
