"""What is played from a recording is what would have been computed, and says so where it is not."""

import copy
import gc
import math
import pickle
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from every_option import CHOICES, USUAL, case_of, potential_of
from torch import Tensor

from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recorded, Recordings
from nnpx.errors import GeometryError, SpeciesError
from nnpx.graph import Edges, Prediction
from nnpx.neighbors import graph_from_list
from nnpx.prior import Prior
from nnpx.reduce import sum_edges_to_atoms
from nnpx.speed.recording import RecordingError, record
from nnpx.uncertainty import Calibration, Curve


def torn(atoms: Atoms) -> Atoms:
    """The same molecule, one hydrogen of which has left the cutoff of all others, and another one has come near."""
    atoms = atoms.copy()
    hydrogens = [k for k, atom in enumerate(atoms) if atom.symbol == "H"]
    atoms.positions[hydrogens[0]] += [0.0, 0.0, 7.3]
    atoms.positions[hydrogens[1]] *= 0.97
    return atoms


def computed(ensemble: Ensemble, structures: list[Atoms]) -> Prediction:
    """Without a recording."""
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="test")
    return ensemble(graph.cast(ensemble.dtype))


def positions_of(structures: list[Atoms]) -> Tensor:
    """Of all atoms."""
    return torch.from_numpy(np.concatenate([atoms.positions for atoms in structures]))


def assert_equal(found: Prediction | None, expected: Prediction) -> None:
    """In all that a prediction says."""
    assert found is not None
    for name, values in vars(expected).items():
        torch.testing.assert_close(
            getattr(found, name), values, rtol=1e-9, atol=1e-10, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(("noun", "option"), CHOICES, ids=["=".join(choice) for choice in CHOICES])
def test_every_option_can_be_recorded(noun: str, option: str) -> None:
    """Recorded with all atoms within the cutoff, played after one has left it; and the other way round."""
    case = case_of(noun, option)
    ensemble, here = Ensemble([case.potential]), case.molecule
    for one, other in ((here, torn(here)), (torn(here), here)):
        assert_equal(Recorded(ensemble, [one], spread=True)(positions_of([other])), computed(ensemble, [other]))


@pytest.mark.parametrize("descriptor", ["acsf", "moments"])
def test_several_molecules_and_members(descriptor: str) -> None:
    here = molecule("CH3CH2OH")
    structures = [here, molecule("H2O"), torn(here)]
    members = [potential_of({**USUAL, "prior": "zbl", "descriptor": descriptor}, [here]) for _ in range(3)]
    for scale, member in enumerate(members):
        member.energy_scale *= 1.0 + 0.1 * scale
    ensemble, recorded = Ensemble(members), Recorded(Ensemble(members), structures, spread=True)
    for atoms in structures:
        atoms.rattle(0.1, seed=4)
    assert computed(ensemble, structures).forces_std.max() > 1e-3
    assert_equal(recorded(positions_of(structures)), computed(ensemble, structures))


def test_the_bits_depend_on_the_positions_alone() -> None:
    """Not on where it was recorded, nor on what was played before: so a restarted trajectory is the same."""
    case = case_of("descriptor", "moments")
    ensemble, here = Ensemble([case.potential]), case.molecule
    one, other = (Recorded(ensemble, [atoms], spread=False) for atoms in (here, torn(here)))
    for _ in range(10):
        assert (found := one(positions_of([torn(here)]))) is not None
    now = positions_of([here]) + 0.02
    found, again, elsewhere = one(now), one(now), other(now)
    assert found is not None
    assert again is not None
    assert elsewhere is not None
    assert torch.equal(found.forces, again.forces)
    assert torch.equal(found.forces, elsewhere.forces)
    assert torch.equal(found.energy, elsewhere.energy)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: (x * float(x.sum()),), id="reads a number"),
        pytest.param(lambda x: (x[x[:, 0] > 0.1],), id="decides by a mask"),
        pytest.param(lambda x: (x.sum() * len((x > 0.1).nonzero()),), id="counts"),
        pytest.param(lambda x: (x + 1e-3 * float(x.detach().numpy().sum()),), id="leaves torch"),
        pytest.param(lambda x: (x + 1e-3 * sum(x[:, 0].tolist()),), id="leaves torch as a list"),
        pytest.param(lambda x: (x + 1e-4 * torch.rand_like(x),), id="draws at random"),
        pytest.param(lambda x: (x.new_zeros(5, 3).index_put_((torch.tensor(1),), 1e-4 * x[0])[:, :2] + _stale(x),), id="writes to a view"),
    ],
)
def test_what_reads_off_its_input_is_refused(function: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    positions = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(RecordingError):
        recorded(function, positions, positions[torch.arange(4, -1, -1)] - 0.3)


def _stale(x: Tensor) -> Tensor:
    base = torch.zeros(5, 2, dtype=x.dtype)
    base[1:3] += 1e-4 * x[:2, :2]
    return base


def recorded(function: Callable[[Tensor], tuple[Tensor, ...]], here: Tensor, there: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """A recording that is compared with the function itself."""
    return record(function, here, truth=function, others=[there], dtype=torch.float64)


def test_what_is_written_to_begins_anew_in_every_call() -> None:
    start = torch.ones(5, 3, dtype=torch.float64)

    def function(x: Tensor) -> tuple[Tensor, ...]:
        total = start.clone()
        total.index_add_(0, torch.tensor([0, 0, 2]), x[:3])
        return total, total.clone().mul_(x), torch.full_like(x, 2.0)

    first, second = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    play = recorded(function, first, second)
    for x in (first, second, first):
        for found, expected in zip(play(x), function(x), strict=True):
            assert torch.equal(found, expected)


def calculator(after: int, **options: str) -> Calculator:
    """Of one potential."""
    return Calculator(Ensemble([case_of("descriptor", "moments").potential]), record_after=after, **options)


def test_memory_that_runs_out_is_told_as_such() -> None:
    def hungry(moved: Tensor) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError

    with pytest.raises(RecordingError, match="more memory"):
        record(hungry, torch.ones(3, 3), truth=hungry, others=[], dtype=torch.float32)


@pytest.mark.parametrize("error", [AttributeError, TypeError])
def test_a_torch_that_cannot_be_asked_is_evaluated_without_a_recording(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def changed(*_: object) -> None:
        raise error

    monkeypatch.setattr("torch._C._create_graph_by_tracing", changed)
    positions = torch.ones(3, 3, dtype=torch.float64)
    with pytest.raises(RecordingError, match="cannot follow"):
        record(lambda moved: (moved.square().sum(),), positions, truth=lambda moved: (moved,), others=[], dtype=torch.float64)


def test_a_recording_is_let_go_with_its_constants() -> None:
    """Twenty with 16 MB each leave less than ten of them in memory."""

    def resident() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    positions = torch.ones(9, 3, dtype=torch.float64)

    def recorded() -> None:
        weights = torch.ones(3, 666_666, dtype=torch.float64)
        record(
            lambda moved: ((moved @ weights).sum(),),
            positions,
            truth=lambda moved: ((moved @ weights).sum(),),
            others=[],
            dtype=torch.float64,
        )

    recorded()
    before = resident()
    for _ in range(20):
        recorded()
    assert resident() < before + 160.0


def test_the_calculator_goes_over_to_a_recording_unnoticed() -> None:
    atoms, never = case_of("descriptor", "moments").molecule.copy(), calculator(10**9)
    atoms.calc = calculator(2)
    for seed in range(6):
        atoms.rattle(0.03, seed=seed)
        assert bool(atoms.calc.recordings._recorded) == (seed > 2)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        np.testing.assert_allclose(energy, never.get_property("energy", atoms), rtol=0, atol=1e-11)
        np.testing.assert_allclose(forces, never.get_property("forces", atoms), rtol=0, atol=1e-10)


def test_another_molecule_or_a_crystal_is_none_of_the_recording() -> None:
    own, never = calculator(0), calculator(10**9)
    crystal = bulk("C", cubic=True)
    for atoms in (molecule("CH3CH2OH"), molecule("H2O"), crystal, molecule("CH3OH"), molecule("CH3CH2OH"), Atoms("O")):
        np.testing.assert_allclose(own.get_property("forces", atoms), never.get_property("forces", atoms), rtol=0, atol=1e-10)
        np.testing.assert_allclose(own.get_property("energy", atoms), never.get_property("energy", atoms), rtol=0, atol=1e-11)
        assert bool(own.recordings._recorded) == (len(atoms) > 1 and atoms is not crystal)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
def test_positions_without_sense_are_still_refused(broken: float) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator(0)
    atoms.get_forces()
    before = atoms.get_positions()
    atoms.positions[3] = before[4] + broken
    with pytest.raises(GeometryError):
        atoms.get_forces()
    atoms.positions = before
    assert np.isfinite(atoms.get_forces()).all()


def test_calibrated_spreads() -> None:
    """As every trained ensemble has them; a curve looks up between which of its knots a spread lies."""
    here = molecule("CH3CH2OH")
    members = [potential_of({**USUAL, "prior": "zbl"}, [here]) for _ in range(2)]
    members[1].energy_scale *= 1.5
    curves = {name: Curve((0.0, 1e-3, 2.0), (0.0, 4e-3, 3.0)) for name in ("energy", "forces")}
    ensemble = Ensemble(members, Calibration(curves))
    assert_equal(Recorded(ensemble, [here], spread=True)(positions_of([torn(here)])), computed(ensemble, [torn(here)]))
    assert computed(ensemble, [here]).forces_std.max() > 4e-3


class Endless(Prior):
    """A repulsion that does not end at the cutoff by itself: ½ (1/r − 1/5)² of every pair that is listed."""

    reach = math.inf

    def forward(self, edges: Edges, species: Tensor) -> Tensor:
        """Half of every pair's energy."""
        return sum_edges_to_atoms(0.25 * (1.0 / edges.distance - 0.2).square(), edges.center, edges.n_atoms)


def test_what_does_not_end_at_the_cutoff_is_not_recorded() -> None:
    atoms = molecule("CH3CH2OH")
    potential = copy.deepcopy(case_of("descriptor", "moments").potential)
    potential.prior = Endless()
    own, never = (Calculator(Ensemble([potential]), record_after=after) for after in (0, 10**9))
    with pytest.raises(RecordingError):
        Recorded(own.ensemble, [atoms], spread=False)
    with pytest.warns(UserWarning, match="without a recording, several times slower: a recording differs"):
        forces = own.get_property("forces", torn(atoms))
    np.testing.assert_array_equal(forces, never.get_property("forces", torn(atoms)))


def test_labels_and_cell_are_not_read() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.info["energy_noise"] = "unknown"
    atoms.cell = np.full((3, 3), np.nan)
    recordings = calculator(0).recordings
    assert recordings.predict([atoms], atoms.positions, spread=False) is not None


def test_an_unknown_element_is_still_refused() -> None:
    with pytest.raises(SpeciesError, match="N"):
        calculator(0).get_property("energy", molecule("NH3"))


def test_single_precision() -> None:
    atoms, own = case_of("descriptor", "moments").molecule, calculator(0, dtype="float32")
    found, expected = own.get_property("forces", atoms), calculator(10**9).get_property("forces", atoms)
    assert own.recordings._recorded[False] is not None
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_copy_records_for_itself() -> None:
    atoms, own = molecule("CH3CH2OH"), calculator(0)
    forces = own.get_property("forces", atoms)
    for copied in (copy.deepcopy(own), pickle.loads(pickle.dumps(own.recordings))):
        recordings = copied if isinstance(copied, Recordings) else copied.recordings
        assert recordings.after == 0
        found = recordings.predict([atoms], atoms.positions, spread=False)
        assert found is not None
        np.testing.assert_array_equal(found.forces.numpy(), forces)
    assert copy.deepcopy(own).recordings.ensemble is not own.ensemble
