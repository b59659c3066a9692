"""Blocks of large structures, and parts of what is recorded, in threads: nothing changes of what comes out."""

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from every_option import USUAL, potential_of
from small import carbons, ethanols, graph_of, potential_for, stored

from nnpx import neighbors
from nnpx.calculator import Calculator
from nnpx.descriptor import invariants, linear_sums, neighbor_sums
from nnpx.ensemble import Ensemble, recorded
from nnpx.ensemble.recorded import Recorded, RecordedParts, Recordings
from nnpx.graph import Prediction
from nnpx.neighbors import graph_from_list
from nnpx.speed.loops import Part
from nnpx.speed.threads import FEWEST_ATOMS, in_one_thread, in_parts
from nnpx.trainer.loop import threads_of_torch
from nnpx.uncertainty import Calibration, Curve

pytestmark = pytest.mark.usefixtures("two_threads")


def assert_same(found: Prediction | None, expected: Prediction | None) -> None:
    """To the last bit."""
    assert found is not None
    assert expected is not None
    for name, values in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), values, rtol=0, atol=0, equal_nan=True)


@pytest.fixture
def idents(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that evaluate what an ensemble or a recording is asked for, as they do."""
    seen: list[int] = []

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        return lambda *words, **named: (seen.append(threading.get_ident()), function(*words, **named))[1]

    monkeypatch.setattr(Ensemble, "_evaluate", watched(Ensemble._evaluate))
    monkeypatch.setattr(recorded, "_play", watched(recorded._play))
    return seen


@pytest.mark.parametrize("descriptor", ["acsf", "moments", "nep"])
@pytest.mark.parametrize("structures", [ethanols(3), carbons(3)], ids=["ethanol", "carbon"])
def test_blocks_in_threads_have_the_same_bits(
    descriptor: str, structures: list[Atoms], monkeypatch: pytest.MonkeyPatch, idents: list[int]
) -> None:
    """Also what is found once and remembered, and found by several at once: tables of radial functions."""
    potentials = [potential_of({**USUAL, "descriptor": descriptor}, structures) for _ in range(2)]
    ensemble = Ensemble(potentials)
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="test")
    monkeypatch.setattr("nnpx.ensemble.ATOMS_AT_A_TIME", {"cpu": 4})
    found = ensemble(graph)
    assert threading.get_ident() not in idents
    assert len(set(idents)) == 2
    with in_one_thread():
        assert_same(found, ensemble(graph))


def boxed(n_molecules: int) -> Atoms:
    """Ethanols in a periodic box."""
    box = Atoms(cell=[18.0, 18.0, 18.0], pbc=True)
    for k, molecule in enumerate(ethanols(n_molecules)):
        molecule.translate(6.0 * np.array([k // 9, k // 3 % 3, k % 3]))
        box += molecule
    return box


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Parts, and threads of torch, of every loop that can be shared."""
    seen: list[tuple[int, int]] = []

    def watched(loop: Callable[[Part], object], n_atoms: int, *, fewest: int = FEWEST_ATOMS) -> list[object]:
        parts = in_parts(loop, n_atoms, fewest=fewest)
        seen.append((len(parts), torch.get_num_threads()))
        return parts

    for module in (neighbors, linear_sums, invariants):
        monkeypatch.setattr(module, "in_parts", watched)
    monkeypatch.setattr(invariants, "_FEWEST_ATOMS", FEWEST_ATOMS)  # as with more atoms
    return seen


@pytest.mark.parametrize("descriptor", ["moments", "nep"])
@pytest.mark.parametrize("n_threads", [2, 3])
def test_loops_over_parts_have_the_same_bits(descriptor: str, n_threads: int, shared: list[tuple[int, int]]) -> None:
    """From the search of pairs to their pulls, parts of unequal length and three elements; torch has one thread meanwhile."""
    torch.set_num_threads(n_threads)
    box = boxed(27 if n_threads == 3 else 15)
    ensemble = Ensemble([potential_of({**USUAL, "descriptor": descriptor}, ethanols(2))])
    own, alone = (Calculator(ensemble, record_after=10**9) for _ in range(2))
    names = ("energies", "forces", "stress")
    shared.clear()
    found = [own.get_property(name, box) for name in names]
    n_sums = 1 if descriptor == "moments" else 2
    assert shared == [(n_threads, 1)] * (1 + n_sums + 2 + n_sums)
    with in_one_thread():
        expected = [alone.get_property(name, box) for name in names]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_torch_keeps_its_threads_where_there_are_no_loops_over_neighbors(
    shared: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read radial functions from a table, and there is none of what is not smooth; invariants are found in loops anyway."""
    box = boxed(15)
    graph = graph_from_list([box], numbers=[1, 6, 8], cutoff=5.0, where="test")
    for n_loops, of_torch in ((4, 1), (2, 2)):
        ensemble = Ensemble([potential_of({**USUAL, "descriptor": "moments", "radial": "bessel"}, ethanols(2)).eval()])
        shared.clear()
        ensemble(graph)
        assert shared == [(2, of_torch)] * n_loops
        with ensemble.in_its_threads(len(box)):
            assert torch.get_num_threads() == of_torch
        monkeypatch.setattr(neighbor_sums, "tabulate", lambda *words: None)


@pytest.mark.parametrize(
    ("n_molecules", "descriptor", "expected"), [(2, "acsf", 1), (2, "moments_messages", 1), (15, "moments_messages", 2)]
)
def test_torch_has_several_threads_for_large_operations_only(
    n_molecules: int, descriptor: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few atoms are evaluated with one, whatever their descriptor: others may need the processor."""
    ensemble, seen = Ensemble([potential_of({**USUAL, "descriptor": descriptor}, ethanols(2)).eval()]), []
    evaluate = ensemble._evaluate
    monkeypatch.setattr(ensemble, "_evaluate", lambda *words, **named: (seen.append(torch.get_num_threads()), evaluate(*words, **named))[1])
    ensemble(graph_of(ethanols(n_molecules)))
    assert seen == [expected]
    assert torch.get_num_threads() == 2


def test_recorded_molecules_have_one_thread_of_torch_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are recorded, and when they are evaluated."""
    seen: list[int] = []
    for name in ("record", "_play"):
        function = getattr(recorded, name)
        watched = partial(lambda function, *words, **named: (seen.append(torch.get_num_threads()), function(*words, **named))[1], function)
        monkeypatch.setattr(recorded, name, watched)
    for n_molecules in (1, 2 * (FEWEST_ATOMS // 9 + 1)):
        structures = ethanols(n_molecules)
        graph = graph_of(structures)
        assert RecordedParts(Ensemble([potential_for(graph).eval()]), structures, spread=False)(graph.positions) is not None
    assert seen == [1] * 5  # two recordings, of which one is shared by two parts


def test_what_is_stored_is_found_with_one_thread_of_torch() -> None:
    graph, seen = graph_of(ethanols(2)), []
    potential = potential_for(graph)
    potential.descriptor.register_forward_hook(lambda *words: seen.append(torch.get_num_threads()))
    stored(graph, potential, torch.float32)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("descriptor", "is_stored", "batch_size", "expected"),
    [("acsf", True, 14, 1), ("acsf", True, 57, 2), ("moments", False, 57, 2), ("moments_messages", False, 57, 8), ("acsf", True, 1000, 2)],
)
def test_as_many_threads_as_a_batch_is_worth(descriptor: str, is_stored: bool, batch_size: int, expected: int) -> None:
    """One for every 256 atoms where they are in loops, for every 64 elsewhere; a batch is no larger than the set."""
    graph = graph_of(ethanols(60))
    potential = potential_of({**USUAL, "descriptor": descriptor}, ethanols(2))
    train = graph.with_(features=torch.zeros(graph.n_atoms, 1)) if is_stored else graph
    assert threads_of_torch(potential, train, batch_size) == expected


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


def test_recorded_parts(idents: list[int]) -> None:
    """Equal parts share a recording; what one part refuses, all refuse; with other molecules in it a part has its own."""
    enough = FEWEST_ATOMS // 9 + 1
    structures = [*ethanols(2 * enough), *(atoms[:3] for atoms in ethanols(enough))]
    curve = Curve((0.0, 1e-3, 2.0), (0.0, 4e-3, 3.0))
    for some, n_parts, n_recordings in ((structures[: 2 * enough], 2, 1), (structures, 2, 2), (structures[:enough], 1, 1)):
        graph = graph_of(some)
        members = [potential_for(graph, seed).eval() for seed in range(2)]
        ensemble = Ensemble(members, Calibration({"energy": curve, "forces": curve}))
        parts, whole = (kind(ensemble, some, spread=True) for kind in (RecordedParts, Recorded))
        sizes = [size for _, size in parts._parts]
        assert (len(sizes), len({one for one, _ in parts._parts})) == (n_parts, n_recordings)
        assert max(sizes) - min(sizes) <= 18
        idents.clear()
        found, expected = parts(graph.positions + 0.02), whole(graph.positions + 0.02)
        assert (threading.get_ident() in idents) == (n_parts == 1)
        assert found is not None
        assert expected is not None
        for name, values in vars(expected).items():
            torch.testing.assert_close(getattr(found, name), values, rtol=1e-9, atol=1e-10, equal_nan=True)
        positions = graph.positions.clone()
        positions[-1] = positions[-2]
        assert parts(positions) is None


def test_the_bits_of_a_recording_do_not_depend_on_who_plays_it(idents: list[int]) -> None:
    structures = ethanols(2 * (FEWEST_ATOMS // 9 + 1))
    graph = graph_of(structures)
    recordings = Recordings(Ensemble([potential_for(graph).eval()]), after=0)
    found = recordings.predict(structures, graph.positions.numpy(), spread=False)
    idents.clear()  # who recorded
    assert_same(recordings.predict(structures, graph.positions.numpy(), spread=False), found)
    assert threading.get_ident() not in idents
    with in_one_thread():
        assert_same(recordings.predict(structures, graph.positions.numpy(), spread=False), found)
    assert threading.get_ident() in idents
