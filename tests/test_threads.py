"""Threads share what is computed, and change nothing of it."""

import os
import subprocess
import sys
import threading
import time
from contextvars import ContextVar

import pytest
import torch

from nnpx.derivatives import forward_derivative
from nnpx.threads import in_one_thread, in_threads

WORD: ContextVar[str] = ContextVar("WORD", default="unsaid")

pytestmark = pytest.mark.usefixtures("two_threads")


def test_order_threads_and_what_each_of_them_knows() -> None:
    """As many at a time as torch has threads, with one of torch each; gradients and context are those of who asks."""
    for threads in (2, 3):
        torch.set_num_threads(threads)
        together = threading.Barrier(threads, timeout=10.0)  # breaks unless as many wait at it

        def ask(item: int, together: threading.Barrier = together) -> tuple[int, int, bool, str, list[int]]:
            together.wait()
            return item, torch.get_num_threads(), torch.is_grad_enabled(), WORD.get(), in_threads(abs, [-1, -2])

        WORD.set("said")
        with torch.no_grad():
            assert in_threads(ask, range(6)) == [(item, 1, False, "said", [1, 2]) for item in range(6)]
        assert torch.get_num_threads() == threads


def test_an_error_waits_for_what_has_begun_and_begins_no_more() -> None:
    torch.set_num_threads(4)
    done: list[int] = []

    def slow_but_the_first(item: int) -> int:
        time.sleep(0.1)
        if item == 0:
            raise ZeroDivisionError
        time.sleep(0.2)
        done.append(item)
        return torch.get_num_threads()

    with pytest.raises(ZeroDivisionError):
        in_threads(slow_but_the_first, range(40))
    before = len(done)
    assert 2 <= before < 20
    time.sleep(0.5)
    assert len(done) == before
    assert torch.get_num_threads() == 4
    assert in_threads(slow_but_the_first, range(1, 9)) == [1] * 8


def test_two_callers_at_once() -> None:
    def call(found: list[list[int]]) -> None:
        torch.set_num_threads(5)
        found += [in_threads(lambda item: (time.sleep(0.001), item + torch.get_num_threads())[1], range(20)) for _ in range(5)]

    found: list[list[int]] = []
    callers = [threading.Thread(target=call, args=(found,)) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [list(range(1, 21))] * 15


#: Python lends no thread any more once its main one has ended, whatever others do
AFTER_ALL = """
import atexit, threading, time, torch
from nnpx.threads import in_threads
torch.set_num_threads(2)
def compute(): print(in_threads(abs, [-1, -2]), flush=True)
compute()
atexit.register(compute)
threading.Thread(target=lambda: (time.sleep(0.3), compute())).start()
"""


def test_a_thread_that_goes_on_after_the_main_one() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER_ALL], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("[1, 2]\n" * 3, "")


def test_one_thread_where_it_is_asked_for() -> None:
    def own(_: int) -> int:
        time.sleep(0.01)
        return threading.get_ident()

    with in_one_thread():
        assert set(in_threads(own, range(4))) == {threading.get_ident()}
    assert threading.get_ident() not in in_threads(own, range(4))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_begins_with_threads_of_its_own() -> None:
    in_threads(abs, range(2))
    child = os.fork()
    if child == 0:
        os._exit(0 if in_threads(abs, [-1, -2]) == [1, 2] else 1)
    end = time.monotonic() + 20.0
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)
    if done[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done == (child, 0), "the forked process waits for threads that it does not have"


def test_forward_derivatives_of_several_threads_are_not_mixed_up() -> None:
    """Those of torch are known to all threads."""

    def cube(x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return x**3

    for value, slope in in_threads(lambda x: forward_derivative(cube, x, torch.ones_like(x)), [torch.full((4,), 2.0)] * 8):
        assert (value[0], slope[0]) == (8.0, 12.0)
