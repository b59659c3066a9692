"""The contract of every reference engine: forces are the slope of the energy, stress the slope against strain."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from nnpx.config import compose, instantiate
from nnpx.errors import ReferenceEngineError
from nnpx.md.identity import identity
from nnpx.reference import Reference
from nnpx.reference.ase import ASE
from nnpx.reference.emt import EMT
from nnpx.reference.lj import LennardJones
from nnpx.reference.pyscf import PySCF
from nnpx.reference.xtb import XTB


def xtb(method: str) -> XTB:
    return XTB(method=method, accuracy=0.01, electronic_temperature_K=300.0, max_iterations=250, charge=0)


def lennard_jones() -> LennardJones:
    return LennardJones(epsilon=0.0103, sigma=3.4, onset=4.5, cutoff=5.2)


def morse() -> ASE:
    parameters = {"epsilon": 1.0, "r0": 1.5, "rho0": 6.0}
    return ASE(calculator="ase.calculators.morse.MorsePotential", parameters=parameters, level_of_theory=None)


def pyscf(**changed: Any) -> PySCF:
    settings = {
        "functional": "pbe",
        "basis": "sto-3g",
        "charge": 0,
        "n_unpaired": None,
        "density_fitting": False,
        "grid_level": 3,
        "convergence": 1e-10,
        "max_cycles": 100,
    }
    return PySCF(**{**settings, **changed})


def shaken(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms.positions += 0.05 * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return atoms


def energy(engine: Reference, atoms: Atoms) -> float:
    return float(engine.label(atoms).get_potential_energy())


CASES = [
    pytest.param(xtb("GFN2-xTB"), molecule("H2O"), 1e-4, id="xtb"),
    pytest.param(EMT(), bulk("Cu", cubic=True), 1e-6, id="emt"),
    pytest.param(lennard_jones(), bulk("Ar", "fcc", a=5.3, cubic=True), 1e-6, id="lj"),
    pytest.param(morse(), molecule("H2O"), 1e-6, id="ase"),
]


@pytest.mark.parametrize(("engine", "atoms", "tolerance"), CASES)
def test_forces_are_the_negative_slope_of_the_energy(engine: Reference, atoms: Atoms, tolerance: float) -> None:
    atoms, step = shaken(atoms.copy()), 1e-4
    forces = engine.label(atoms).get_forces()
    for atom, axis in [(0, 0), (1, 2)]:
        plus, minus = atoms.copy(), atoms.copy()
        plus.positions[atom, axis] += step
        minus.positions[atom, axis] -= step
        slope = (energy(engine, plus) - energy(engine, minus)) / (2 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=tolerance * max(1.0, abs(slope)))


@pytest.mark.parametrize(
    ("engine", "atoms", "tolerance"),
    [
        pytest.param(EMT(), bulk("Cu", cubic=True), 1e-7, id="emt"),
        pytest.param(lennard_jones(), bulk("Ar", "fcc", a=5.3, cubic=True), 1e-7, id="lj"),
        pytest.param(xtb("GFN1-xTB"), bulk("Si", "diamond", a=5.4), 2e-5, id="xtb", marks=pytest.mark.slow),
    ],
)
def test_stress_is_the_slope_of_the_energy_against_strain(engine: Reference, atoms: Atoms, tolerance: float) -> None:
    stress = engine.label(atoms).get_stress(voigt=False)
    strain = 1e-4
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        deformation = np.eye(3)
        deformation[0, 0] += sign * strain
        strained.set_cell(np.asarray(atoms.cell) @ deformation, scale_atoms=True)
        energies.append(energy(engine, strained))
    slope = (energies[0] - energies[1]) / (2 * strain) / atoms.cell.volume
    assert stress[0, 0] == pytest.approx(slope, abs=tolerance)


def test_compressed_copper_has_negative_stress() -> None:
    engine, atoms = EMT(), bulk("Cu", cubic=True)
    atoms.set_cell(0.95 * np.asarray(atoms.cell), scale_atoms=True)
    assert np.all(engine.label(atoms).get_stress()[:3] < 0)


def test_molecule_has_no_stress() -> None:
    engine = xtb("GFN2-xTB")
    assert "stress" not in engine.label(molecule("H2O")).calc.results


def test_xtb_water_has_the_published_energy() -> None:
    """-137.96777 eV in the documentation of tblite's calculator."""
    engine = xtb("GFN2-xTB")
    assert energy(engine, molecule("H2O")) == pytest.approx(-137.9677759, abs=1e-5)


def test_label_does_not_depend_on_what_was_labelled_before() -> None:
    engine = xtb("GFN2-xTB")
    before = engine.label(molecule("H2O"))
    engine.label(shaken(molecule("H2O")))
    after = engine.label(molecule("H2O"))
    assert before.get_potential_energy() == after.get_potential_energy()
    assert np.array_equal(before.get_forces(), after.get_forces())


def test_isolated_hydrogen_lies_above_half_a_molecule() -> None:
    engine = xtb("GFN2-xTB")
    assert engine.isolated_atom("H") > energy(engine, molecule("H2")) / 2


def test_cycle_that_does_not_converge_is_one_clear_error() -> None:
    engine = XTB(method="GFN2-xTB", accuracy=1e-4, electronic_temperature_K=300.0, max_iterations=1, charge=0)
    with pytest.raises(ReferenceEngineError, match="expected an energy and forces of H2O"):
        engine.label(molecule("H2O"))


def test_element_that_the_engine_does_not_know_is_one_clear_error() -> None:
    with pytest.raises(ReferenceEngineError, match="expected an energy and forces of Si2"):
        EMT().label(bulk("Si"))


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("nowhere.at.All", {}, "installed or in .* or above it, found neither"),
        ("ase.calculators.morse.Morsel", {}, "a class in the module ase.calculators.morse"),
        ("ase.calculators.singlepoint.SinglePointCalculator", {"colour": 3}, "arguments of ase.calculators.singlepoint"),
        ("pathlib.PurePath", {}, "the class of an ASE calculator"),
    ],
)
def test_wrong_dotted_path_says_what_to_correct(path: str, parameters: dict[str, int], message: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("NNPX_TRUSTED", "nowhere,ase,pathlib")
    engine = ASE(calculator=path, parameters=parameters, level_of_theory=None)
    with pytest.raises(ReferenceEngineError, match=message):
        engine.calculator()


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("subprocess.Popen", {"args": ["touch", "TRACE"]}),
        ("subprocess.run", {"args": ["touch", "TRACE"]}),
        ("pathlib.Path.touch", {"self": "TRACE"}),
    ],
)
def test_what_is_no_calculator_is_never_called(path: str, parameters: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNPX_TRUSTED", "subprocess,pathlib")
    engine = ASE(calculator=path, parameters=parameters, level_of_theory=None)
    with pytest.raises(ReferenceEngineError):
        engine.calculator()
    time.sleep(0.2)  # a process that was started would need a moment to leave its trace
    assert not list(tmp_path.iterdir())


def test_a_calculator_that_starts_a_program_needs_the_users_trust(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    calculator, command = "ase.calculators.gamess_us.GAMESSUS", {"command": "touch TRACE #"}
    engine = ASE(calculator=calculator, parameters=command, level_of_theory=None)
    with pytest.raises(ReferenceEngineError, match=r"expected a package that you trust, found ase.calculators.gamess_us.GAMESSUS"):
        engine.label(molecule("H2"))
    assert not list(tmp_path.iterdir())


def test_engines_that_are_called_by_the_same_words_are_told_apart() -> None:
    """Results kept from one are not those of the other."""
    soft, hard = (
        ASE(calculator="ase.calculators.morse.MorsePotential", parameters={"rho0": rho0}, level_of_theory="Morse") for rho0 in (5.0, 6.0)
    )
    assert soft.level_of_theory == hard.level_of_theory == "Morse"
    assert soft.identity != hard.identity
    nve = instantiate(compose(["md=nve"]).md)
    keys = {identity(engine.identity, nve, molecule("H2"), 0, trusted="") for engine in (soft, hard, soft)}
    assert len(keys) == 2


def test_missing_engine_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnpx.reference.pyscf.find_spec", lambda name: None)
    with pytest.raises(ReferenceEngineError, match=r'pip install "nnpx\[pyscf\]"'):
        pyscf().calculator()


@pytest.mark.parametrize("changed", [{"n_unpaired": 0}, {"n_unpaired": 2}, {"convergence": 1e-6}, {"max_cycles": 5}], ids=str)
def test_what_changes_a_label_changes_the_identity(changed: dict[str, Any]) -> None:
    assert pyscf(**changed).identity != pyscf().identity


@pytest.mark.slow
def test_pyscf_forces_are_the_negative_slope_of_the_energy() -> None:
    pytest.importorskip("pyscf")
    engine, atoms, step = pyscf(), shaken(molecule("H2")), 1e-3
    forces = engine.label(atoms).get_forces()
    plus, minus = atoms.copy(), atoms.copy()
    plus.positions[0, 2] += step
    minus.positions[0, 2] -= step
    slope = (energy(engine, plus) - energy(engine, minus)) / (2 * step)
    assert forces[0, 2] == pytest.approx(-slope, abs=1e-4)
