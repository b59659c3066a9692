"""What an ensemble makes of the densities around the same atoms is recorded: other results there are none."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from members_of_ensembles import member
from small import CONFIG, carbons, ethanols, graph_of, potential_for

from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble, recorded
from nnpx.ensemble.recorded import Recordings
from nnpx.errors import ConfigError
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import start_walker
from nnpx.neighbors import graph_from_atoms
from nnpx.speed.cuda_graph import RecordingError

NAMES = ("energy", "energies", "forces", "stress")


def crystal(n: int = 2) -> Atoms:
    """Of two elements, without symmetry."""
    atoms = bulk("C", "fcc", a=3.6, cubic=True) * (n, n, 1)
    atoms.numbers[:5] = 8
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many atoms were evaluated each time without a recording, or for one."""
    seen: list[int] = []
    evaluate = Ensemble._of_linearised

    def watched(self: Ensemble, block: object, *words: object, **named: object) -> object:
        seen.append(block.n_centers)
        return evaluate(self, block, *words, **named)

    monkeypatch.setattr(Ensemble, "_of_linearised", watched)
    return seen


def ensemble(option: str, n_members: int) -> Ensemble:
    return Ensemble([member([*ethanols(2), *carbons(2)], option, seed) for seed in range(n_members)])


@pytest.mark.parametrize("option", ["moments", "nep", "ani_2x"])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("spread", [False, True])
def test_a_recording_has_the_results_of_the_ensemble(option: str, n_members: int, spread: bool, unrecorded: list[int]) -> None:
    """At places where the neighbours are others, and with elements that are others."""
    own = ensemble(option, n_members)
    assert n_members == 1 or own.shares_expansion
    with_one, without = (Calculator(own, record_after=after, spread=spread) for after in (0, 10**9))
    names = [*NAMES, *(["energy_std", "forces_std"] if spread and n_members > 1 else [])]
    atoms, random = crystal(), np.random.default_rng(0)
    for step in range(6):
        if step == 4:
            atoms.numbers = atoms.numbers[::-1]
        atoms.positions += random.normal(scale=0.08, size=atoms.positions.shape)
        unrecorded.clear()
        found = [with_one.get_property(name, atoms) for name in names]
        assert (len(unrecorded) > 0) == (step in (0, 4))
        for one, name in zip(found, names, strict=True):
            np.testing.assert_allclose(one, without.get_property(name, atoms), rtol=1e-10, atol=1e-11)


def test_evaluations_before_a_recording_are_counted(unrecorded: list[int]) -> None:
    calculator, atoms, numbers = Calculator(ensemble("moments", 1), record_after=3), crystal(), []
    for _ in range(6):
        atoms.positions += 0.001
        unrecorded.clear()
        calculator.get_forces(atoms)
        numbers.append(len(unrecorded))
    assert numbers[:3] == [1, 1, 1]
    assert numbers[3] > 1  # recorded, and compared at other densities
    assert numbers[4:] == [0, 0]


def test_what_has_no_densities_of_its_own_is_evaluated_as_ever(unrecorded: list[int]) -> None:
    """Symmetry functions of vectors with several numbers."""
    config = {**CONFIG, "species_embedding": {"_target_": "nnpx.species_embedding.learned.Learned", "n_channels": 3}}
    calculator = Calculator(Ensemble([potential_for(graph_of(carbons(2)), config=config)]), record_after=0)
    atoms = crystal()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            atoms.positions += 0.001
            unrecorded.clear()
            calculator.get_forces(atoms)
            assert unrecorded == [len(atoms)]


def test_many_atoms_are_not_recorded(monkeypatch: pytest.MonkeyPatch, unrecorded: list[int]) -> None:
    monkeypatch.setattr("nnpx.ensemble.recorded.MOST_ATOMS", 15)
    calculator, atoms = Calculator(ensemble("moments", 1), record_after=0), crystal()
    calculator.get_forces(atoms)
    assert unrecorded == [16]


def test_what_cannot_be_recorded_is_evaluated_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **named: object) -> None:
        raise RecordingError("it reads something off its input")

    own, atoms = ensemble("moments", 1), crystal()
    expected = Calculator(own, record_after=10**9).get_property("forces", atoms)
    monkeypatch.setattr(recorded, "record", refuse)
    calculator, moved = Calculator(own, record_after=0), crystal()
    moved.positions[0] += 0.01
    with pytest.warns(UserWarning, match="it reads something off its input"):
        calculator.get_forces(moved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(calculator.get_property("forces", atoms), expected)


def test_nothing_is_recorded_where_nothing_is_differentiated() -> None:
    """It would be played ever after, with wrong forces."""
    own, atoms = ensemble("moments", 2), crystal()
    expected = Calculator(own, record_after=10**9).get_property("forces", atoms)
    calculator = Calculator(own, record_after=0)
    with torch.inference_mode(), pytest.raises(ConfigError, match="inference_mode"):
        calculator.calculate(atoms, ["forces"])
    np.testing.assert_allclose(calculator.get_property("forces", atoms), expected, rtol=1e-10, atol=1e-11)


def test_a_recording_is_for_its_elements_only() -> None:
    """Whoever evaluates other structures than `predict` was asked for last has right results, too."""
    own, atoms = ensemble("moments", 1), crystal()
    other = atoms.copy()
    other.numbers = atoms.numbers[::-1]
    recordings = Recordings(own, after=0)
    for some in (atoms, other, atoms[:7]):
        recordings.predict([atoms], atoms.positions, spread=False)
        graph = graph_from_atoms(some, numbers=own.numbers, cutoff=own.cutoff_radius, where="test")
        found, expected = recordings.evaluate(graph, graph.edges(), spread=False), own(graph, spread=False)
        torch.testing.assert_close(found.forces, expected.forces, rtol=1e-10, atol=1e-11)


@pytest.mark.usefixtures("two_threads")
def test_a_recording_has_the_same_bits_for_any_threads_and_after_a_pause() -> None:
    own, atoms = ensemble("moments", 2), crystal(6)
    assert len(atoms) >= 128  # which threads share
    calculator = Calculator(own, record_after=0)
    calculator.get_forces(atoms)
    atoms.positions += np.random.default_rng(2).normal(scale=0.02, size=atoms.positions.shape)
    found = [calculator.get_property(name, atoms) for name in NAMES]
    torch.set_num_threads(1)
    later = Calculator(own, record_after=0)
    for one, name in zip(found, NAMES, strict=True):
        np.testing.assert_array_equal(one, later.get_property(name, atoms))


def test_walkers_of_crystals_are_recorded_too(unrecorded: list[int]) -> None:
    engine = BatchedDynamics(
        ensemble("moments", 2),
        [start_walker(crystal(), temperature_K=300.0, seed=seed) for seed in range(2)],
        timestep_fs=0.5,
        friction_per_fs=0.0,
        skin=0.3,
    )
    engine.advance(1)
    unrecorded.clear()
    engine.advance(5)
    assert unrecorded == []
