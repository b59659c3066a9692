"""Threads share what is computed, and change nothing of it."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
import torch

from nnpx.derivatives import forward_derivative
from nnpx.speed.loops import Part
from nnpx.speed.threads import FEWEST_ATOMS, for_loops, in_one_thread, in_parts, in_threads, n_threads

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
from nnpx.speed.threads import in_threads
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


def test_parts_of_a_loop() -> None:
    """About equal, in order, each in a thread of its own; few atoms, or one thread, are one part."""
    torch.set_num_threads(3)
    together = threading.Barrier(3, timeout=10.0)

    def whole(part: Part) -> tuple[int, int, int]:
        return *part, threading.get_ident()

    def waiting(part: Part) -> tuple[int, int, int]:
        together.wait()
        return whole(part)

    parts = in_parts(waiting, 3 * FEWEST_ATOMS + 1)
    assert [begin for begin, _, _ in parts] == [0, *(end for _, end, _ in parts[:-1])]
    assert parts[-1][1] == 3 * FEWEST_ATOMS + 1
    assert {end - begin for begin, end, _ in parts} == {FEWEST_ATOMS, FEWEST_ATOMS + 1}
    assert parts[0][2] == threading.get_ident()
    assert len({ident for _, _, ident in parts}) == 3
    assert len(in_parts(whole, 3 * FEWEST_ATOMS - 1)) == 2
    assert in_parts(whole, 2 * FEWEST_ATOMS - 1) == [(0, 2 * FEWEST_ATOMS - 1, threading.get_ident())]
    with in_one_thread():
        assert in_parts(whole, 1000) == [(0, 1000, threading.get_ident())]


def test_parts_that_no_thread_has_time_for_are_done_by_who_asks() -> None:
    """Else two who wait for each other's threads would wait for ever."""
    begun, free = threading.Barrier(3, timeout=10.0), threading.Event()
    other = threading.Thread(target=in_threads, args=(lambda _: (begun.wait(), free.wait(10.0)), range(2)))
    other.start()
    begun.wait()
    started = time.monotonic()
    assert in_parts(lambda part: (*part, threading.get_ident()), 200) == [
        (0, 100, threading.get_ident()),
        (100, 200, threading.get_ident()),
    ]
    assert time.monotonic() - started < 5.0, "who asks waits for what others keep the threads busy with"
    free.set()
    other.join()


@pytest.mark.parametrize("n_given", [0, 1])
def test_where_no_more_threads_can_be_had(n_given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been given away is done by others, the rest here, and nothing twice."""
    torch.set_num_threads(3)
    submit, given, done = ThreadPoolExecutor.submit, [], []

    def some(self: ThreadPoolExecutor, *words: object) -> object:
        if len(given) == n_given:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        given.append(words)
        return submit(self, *words)

    in_threads(abs, range(3))  # there are threads by now
    monkeypatch.setattr(ThreadPoolExecutor, "submit", some)
    for ask in (
        lambda work: in_threads(work, range(3)),
        lambda work: in_parts(lambda part: work(part[0] // FEWEST_ATOMS), 3 * FEWEST_ATOMS),
    ):
        given.clear()
        done.clear()
        assert ask(lambda item: (done.append(item), item)[1]) == [0, 1, 2]
        assert sorted(done) == [0, 1, 2]
        assert len(given) == n_given


def test_an_error_in_a_part() -> None:
    def fails(part: Part) -> None:
        if part[0] > 0:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_parts(fails, 1000)
    assert in_parts(lambda part: part, 1000) == [(0, 500), (500, 1000)]


def test_loops_have_the_threads_that_torch_leaves_them() -> None:
    def evaluate() -> None:
        with for_loops():
            with for_loops():
                assert (torch.get_num_threads(), n_threads()) == (1, 2)
            assert (torch.get_num_threads(), n_threads()) == (1, 2)
            assert len(in_parts(lambda part: part, 1000)) == 2
            assert in_threads(lambda _: (torch.get_num_threads(), n_threads()), range(2)) == [(1, 1)] * 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate()
    assert (torch.get_num_threads(), n_threads()) == (2, 2)
    with in_one_thread(), for_loops():
        assert n_threads() == 1


def test_torch_keeps_as_many_threads_as_its_operations_are_worth() -> None:
    torch.set_num_threads(4)
    for of_torch, expected in ((1, 1), (3, 3), (9, 4)):
        with for_loops(of_torch):
            assert (torch.get_num_threads(), n_threads()) == (expected, 4)
        assert torch.get_num_threads() == 4


@pytest.mark.parametrize(
    ("said", "looks"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
    ids=["nothing", "how often to look", "how to wait"],
)
@pytest.mark.parametrize(
    "words",
    ["import nnpx.cli; sys.argv = ['nnpx', '--version']; nnpx.cli.main(); import torch", "import nnpx; nnpx.load"],
    ids=["command", "library"],
)
def test_threads_of_torch_wait_briefly(words: str, said: dict[str, str], looks: str) -> None:
    """As libgomp says itself when torch is loaded."""
    kept = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = {**kept, "OMP_DISPLAY_ENV": "verbose", **said}
    found = subprocess.run([sys.executable, "-c", f"import sys; {words}"], env=environment, capture_output=True, text=True, check=True)
    assert f"GOMP_SPINCOUNT = '{looks}'" in found.stderr


def test_threads_to_come_have_as_many_of_torch_as_ever() -> None:
    """Also after loops in threads that have one of torch."""

    def evaluate(_: int) -> None:
        with for_loops():
            torch.ones(2) + 1

    in_threads(evaluate, range(4))
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [2]


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
