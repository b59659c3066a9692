"""A label that is not what it claims is recognised, and an engine that fails costs one structure."""

import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from learning.engines import copper, name_of

from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import labels
from nnpx.errors import ReferenceEngineError
from nnpx.executor.processes import Processes
from nnpx.learning.label_check import LabelCheck
from nnpx.learning.labels import Labeller
from nnpx.reference.ase import ASE
from nnpx.reference.emt import EMT
from nnpx.reference.xtb import XTB

CHECK = LabelCheck(n_examined=2, displacement=0.01, tolerance=0.05, max_force=50.0, same_force=0.02, same_energy=0.001)


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNPX_TRUSTED", "learning")


def faulty(fault: str, beyond: float = -1e9) -> ASE:
    parameters = {"fault": fault, "beyond": beyond}
    return ASE(calculator="learning.engines.Counted", parameters=parameters, level_of_theory="counted")


def labeller(engine: object, folder: Path, timeout_s: float = 60.0) -> Labeller:
    journal = FinishedJobs(path=folder / "calls.jsonl")
    executor = Processes(n_processes=1)
    return Labeller(reference=engine, executor=executor, check=CHECK, timeout_s=timeout_s, journal=journal, report=lambda done, total: None)


def test_labels_of_a_right_engine_pass_and_are_those_of_the_engine(tmp_path: Path) -> None:
    structures = [copper(seed) for seed in range(4)]
    found = labeller(EMT(), tmp_path).label(structures, ["Cu"])
    assert found.failures == []
    assert found.n_calls == 4 + 2 * 2 + 1
    assert found.isolated["Cu"] == pytest.approx(EMT().isolated_atom("Cu"))
    for atoms, label in zip(structures, found.structures, strict=True):
        assert np.array_equal(labels(label)["forces"], labels(EMT().label(atoms))["forces"])


def test_forces_of_quantum_chemistry_pass(tmp_path: Path) -> None:
    engine = XTB(method="GFN2-xTB", accuracy=1.0, electronic_temperature_K=300.0, max_iterations=250, charge=0)
    ethanol = molecule("CH3CH2OH")
    ethanol.rattle(0.05, seed=1)
    assert CHECK.job("ethanol", ethanol, examined=True).run(engine).failures == []


@pytest.mark.parametrize("fault", ["sign", "unit"])
def test_forces_that_are_not_the_slope_of_the_energy_are_never_learned(fault: str, tmp_path: Path) -> None:
    with pytest.raises(ReferenceEngineError, match="slope"):
        labeller(faulty(fault), tmp_path).label([copper(seed) for seed in range(4)], [])


def test_where_one_examined_label_is_wrong_all_are_examined(tmp_path: Path) -> None:
    """Structures 0 and 3 of four are examined; the engine errs for 1, 2 and 3."""
    structures = [copper(seed, shift=float(seed)) for seed in range(4)]
    found = labeller(faulty("sign", beyond=0.5), tmp_path).label(structures, [])
    assert len(found.structures) == 1
    assert [failure.name for failure in found.failures] == ["structure 1", "structure 2", "structure 3"]


@pytest.mark.parametrize("fault", ["raise", "crash"])
def test_where_an_examined_structure_has_no_label_another_is_examined(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Structures 0 and 3 of four are examined; for 0 there is no label, and the engine errs for 1."""
    structures = [copper(seed, shift=5.0 * (seed == 1)) for seed in range(4)]
    monkeypatch.setenv("NNPX_TEST_FAULT", f"{fault}:{name_of(structures[0])}")
    found = labeller(faulty("sign", beyond=3.0), tmp_path).label(structures, [])
    assert [failure.name for failure in found.failures] == ["structure 0", "structure 1"]
    assert found.n_calls == 3 + 1 + 1 + 3 + 2 + 2  # where a slope is wrong, that of 2 is examined as well


def test_forces_beyond_the_bound_are_no_label(tmp_path: Path) -> None:
    strict = LabelCheck(n_examined=0, displacement=0.01, tolerance=0.05, max_force=1e-6, same_force=0.02, same_energy=0.001)
    (failure,) = strict.job("copper", copper(0), examined=False).run(EMT()).failures
    assert "more than 1e-06" in failure.reason


@pytest.mark.parametrize(("fault", "reason"), [("turned", "torque"), ("drift", "sum")])
def test_forces_that_no_structure_exerts_on_itself_are_no_label_though_it_is_not_examined(fault: str, reason: str) -> None:
    (failure,) = CHECK.job("copper", copper(0), examined=False).run(faulty(fault)).failures
    assert reason in failure.reason


def test_a_crystal_may_be_turned_by_its_images_but_not_moved() -> None:
    """A cell has a torque of its own: forces of which the half belongs to images."""
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=1)
    right = CHECK.job("copper", crystal, examined=False)
    assert np.linalg.norm(np.cross(crystal.positions, EMT().label(crystal).get_forces()).sum(0)) > 1.0
    assert right.run(faulty("")).failures == []
    assert "sum" in right.run(faulty("drift")).failures[0].reason


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("crash", "died"), ("raise", "did not converge"), ("odd", "LookupError"), ("nan", "nan or infinity")],
)
def test_a_failure_of_the_engine_costs_one_structure(fault: str, reason: str, tmp_path: Path) -> None:
    structures = [copper(0), copper(1, shift=5.0), copper(2)]
    found = labeller(faulty(fault, beyond=3.0), tmp_path).label(structures, [])
    assert len(found.structures) == 2
    (failure,) = found.failures
    assert failure.name == "structure 1"
    assert reason in failure.reason


def test_an_engine_that_hangs_is_given_up(tmp_path: Path) -> None:
    began = time.monotonic()
    found = labeller(faulty("hang", beyond=3.0), tmp_path, timeout_s=1.0).label([copper(0), copper(1, shift=5.0), copper(2)], [])
    assert time.monotonic() - began < 40
    assert [failure.name for failure in found.failures] == ["structure 1"]
    assert "within 1 s" in found.failures[0].reason


def test_the_time_that_is_allowed_is_that_of_one_calculation(tmp_path: Path) -> None:
    """The label of an examined structure takes three."""
    found = labeller(faulty("slow"), tmp_path, timeout_s=1.0).label([copper(0), copper(1)], [])
    assert len(found.structures) == 2


def test_what_is_labelled_is_not_labelled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNPX_TEST_CALLS", str(tmp_path / "count"))
    structures = [copper(seed) for seed in range(3)]
    first = labeller(faulty(""), tmp_path).label(structures, [])
    spent = len((tmp_path / "count").read_text().splitlines())
    again = labeller(faulty(""), tmp_path).label(structures, [])
    assert spent == first.n_calls == again.n_calls
    assert len((tmp_path / "count").read_text().splitlines()) == spent


def test_data_of_another_engine_are_refused(tmp_path: Path) -> None:
    structures = [EMT().label(copper(seed)) for seed in range(3)]
    assert labeller(EMT(), tmp_path / "same").examine(structures).n_calls == 6
    for atoms in structures:
        atoms.calc.results["forces"] = 1.5 * atoms.calc.results["forces"]
    with pytest.raises(ReferenceEngineError, match="differ"):
        labeller(EMT(), tmp_path / "other").examine(structures)


@pytest.mark.parametrize("fault", ["raise", "sign"])
def test_an_outage_is_forgotten_so_that_the_mended_engine_is_asked_again(fault: str, tmp_path: Path) -> None:
    """Nothing of an engine that gave no label to learn from is kept: its unexamined labels were no better."""
    structures = [copper(seed) for seed in range(4)]
    with pytest.raises(ReferenceEngineError, match="at least one"):
        labeller(faulty(fault), tmp_path).label(structures, ["Cu"])
    found = labeller(faulty(""), tmp_path).label(structures, ["Cu"])
    assert found.failures == []
    for atoms, label in zip(structures, found.structures, strict=True):
        assert np.array_equal(labels(label)["forces"], labels(faulty("").label(atoms))["forces"])


def test_an_outage_while_the_start_is_examined_is_forgotten(tmp_path: Path) -> None:
    """Also where one of the two examined structures has its label already."""
    structures = [faulty("").label(copper(seed, shift=5.0 * seed)) for seed in range(2)]
    for beyond in (-1e9, 3.0):
        with pytest.raises(ReferenceEngineError):
            labeller(faulty("raise", beyond), tmp_path).examine(structures)
    assert labeller(faulty(""), tmp_path).examine(structures).n_calls == 6


@pytest.mark.parametrize(("factor", "zero"), [(1.0, 1.0), (1 / 27.2114, 0.0)])
def test_data_with_another_zero_or_unit_of_energy_are_refused(factor: float, zero: float, tmp_path: Path) -> None:
    structures = [EMT().label(copper(seed)) for seed in range(3)]
    for atoms in structures:
        atoms.calc.results["energy"] = factor * atoms.calc.results["energy"] + zero
    with pytest.raises(ReferenceEngineError, match="energies that differ"):
        labeller(EMT(), tmp_path).examine(structures)
