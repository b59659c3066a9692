"""Threads share what is computed, and change nothing of it."""

import os
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
import torch
from ase import Atoms
from small import carbons, ethanols, graph_of, potential_for

from nnpx.derivatives import forward_derivative
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import FEWEST_ATOMS, Recorded, RecordedParts, Recordings
from nnpx.graph import Prediction
from nnpx.threads import in_one_thread, in_threads

WORD: ContextVar[str] = ContextVar("WORD", default="unsaid")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_order_threads_and_what_each_of_them_knows() -> None:
    """Two at a time, with one thread of torch each; gradients and context are those of who asks."""
    both = threading.Barrier(2, timeout=10.0)  # breaks unless two wait at it together

    def ask(item: int) -> tuple[int, int, bool, str, list[int]]:
        both.wait()
        return item, torch.get_num_threads(), torch.is_grad_enabled(), WORD.get(), in_threads(abs, [-1, -2])

    WORD.set("said")
    with torch.no_grad():
        assert in_threads(ask, range(6)) == [(item, 1, False, "said", [1, 2]) for item in range(6)]
    assert torch.get_num_threads() == 2


def test_an_error_leaves_the_threads_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 / item, [1, 0, 2])
    assert torch.get_num_threads() == 2


def test_one_thread_where_it_is_asked_for() -> None:
    def own(_: int) -> int:
        time.sleep(0.01)
        return threading.get_ident()

    with in_one_thread():
        assert set(in_threads(own, range(4))) == {threading.get_ident()}
    assert threading.get_ident() not in in_threads(own, range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes are forked")
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


def assert_same(found: Prediction | None, expected: Prediction | None) -> None:
    """To the last bit."""
    assert found is not None
    assert expected is not None
    for name, values in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("structures", [ethanols(3), carbons(3)], ids=["ethanol", "carbon"])
def test_blocks_in_threads_have_the_same_bits(structures: list[Atoms], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(structures)
    ensemble = Ensemble([potential_for(graph, seed).eval() for seed in range(2)])
    monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 4})
    found = ensemble(graph)
    with in_one_thread():
        assert_same(found, ensemble(graph))


def test_a_recording_sees_what_is_done_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads would do it unseen."""
    structures = ethanols(3)
    graph = graph_of(structures)
    ensemble = Ensemble([potential_for(graph).eval()])
    monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 4})
    found = Recorded(ensemble, structures, spread=False)(graph.positions + 0.01)
    expected = ensemble(graph.with_(positions=graph.positions + 0.01), spread=False)
    assert found is not None
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-10, atol=1e-11)


def test_recorded_parts() -> None:
    """Equal parts share a recording; what one part refuses, all refuse; with other molecules in it a part has its own."""
    enough = FEWEST_ATOMS // 9 + 1
    structures = [*ethanols(2 * enough), ethanols(1)[0][:6]]
    graph = graph_of(structures)
    ensemble = Ensemble([potential_for(graph, seed).eval() for seed in range(2)])
    for some, n_recordings in ((structures[:-1], 1), (structures, 2), (structures[:enough], 1)):
        parts, whole = (kind(ensemble, some, spread=True) for kind in (RecordedParts, Recorded))
        assert len({recorded for recorded, _ in parts._parts}) == n_recordings
        assert len(parts._parts) == (1 if some == structures[:enough] else 2)
        positions = graph.positions[: sum(len(atoms) for atoms in some)] + 0.02
        found, expected = parts(positions), whole(positions)
        assert found is not None
        assert expected is not None
        for name, values in vars(expected).items():
            torch.testing.assert_close(getattr(found, name), values, rtol=1e-9, atol=1e-10, equal_nan=True)
        positions[-1] = positions[-2]
        assert parts(positions) is None


def test_recordings_are_played_in_threads() -> None:
    structures = ethanols(2 * (FEWEST_ATOMS // 9 + 1))
    graph = graph_of(structures)
    ensemble = Ensemble([potential_for(graph).eval()])
    recordings = Recordings(ensemble, after=0)
    found = recordings.predict(structures, graph.positions.numpy(), spread=False)
    assert_same(recordings.predict(structures, graph.positions.numpy(), spread=False), found)
    with in_one_thread():
        assert_same(recordings.predict(structures, graph.positions.numpy(), spread=False), found)
