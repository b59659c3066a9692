"""Heat baths and barostats without noise against ASE's, where those are right, and against statistical mechanics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.units import kB
from md_systems import Pairs, Springs
from small import carbons

from nnpx import units
from nnpx.calculator import Calculator
from nnpx.ensemble import Ensemble
from nnpx.md.canonical import canonical_test
from nnpx.md.chain import IsotropicMTK, NoseHooverChain
from nnpx.md.momenta import draw_momenta, pressure, remove_rigid_motion
from nnpx.md.nose_hoover import NoseHoover
from nnpx.md.npt import NPT
from nnpx.md.observables import conservation, mean
from nnpx.md.trajectory import Trajectory

Run = Callable[..., Trajectory]
CHAIN = {"thermostat_fs": 100.0, "chain_length": 3}


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    draw_momenta(atoms, 300.0, np.random.default_rng(1))
    remove_rigid_motion(atoms)
    return atoms


def pair() -> tuple[Atoms, Atoms]:
    one, two = copper(), copper()
    for atoms in (one, two):
        atoms.rattle(0.05, seed=2)
        atoms.calc = EMT()
    return one, two


def assert_same_path(ours: Any, theirs: Any, steps: int = 60) -> None:
    ours.run(steps)
    theirs.run(steps)
    np.testing.assert_allclose(ours.atoms.positions, theirs.atoms.positions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.atoms.get_momenta(), theirs.atoms.get_momenta(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.atoms.cell.array, theirs.atoms.cell.array, rtol=0, atol=1e-9)
    assert ours.conserved_energy() == pytest.approx(theirs.get_conserved_energy(), abs=1e-8)


def test_with_3N_degrees_of_freedom_the_chain_is_ases() -> None:  # noqa: N802  N is the number of atoms
    one, two = pair()
    numbers = {"timestep": 2.0 * units.fs}
    ours = NoseHooverChain(one, temperature_K=500.0, freedom=12, period=50.0 * units.fs, links=3, **numbers)
    # ASE's Boltzmann constant is of CODATA 2014
    theirs = NoseHooverChainNVT(two, temperature_K=500.0 * units.K / kB, tdamp=50.0 * units.fs, tchain=3, **numbers)
    assert_same_path(ours, theirs)


def test_with_3N_degrees_of_freedom_the_barostat_is_ases() -> None:  # noqa: N802  N is the number of atoms
    one, two = pair()
    numbers = {"timestep": 2.0 * units.fs}
    ours = IsotropicMTK(
        one, temperature_K=500.0, pressure=0.01, freedom=12, period=50.0 * units.fs, cell_period=200.0 * units.fs, links=3, **numbers
    )
    ours.cell_chain_masses[0] *= 9.0  # a choice that ASE makes for cells with nine variables
    theirs = IsotropicMTKNPT(
        two, temperature_K=500.0 * units.K / kB, pressure_au=0.01, tdamp=50.0 * units.fs, pdamp=200.0 * units.fs, **numbers
    )
    assert_same_path(ours, theirs)
    assert abs(one.get_volume() - copper().get_volume()) > 0.1


def test_pressure_is_that_of_ase() -> None:
    atoms = copper()
    atoms.calc = EMT()
    assert pressure(atoms) == pytest.approx(-atoms.get_stress(voigt=False, include_ideal_gas=True).trace() / 3)


@pytest.fixture
def crystal(repulsion: Ensemble) -> tuple[Atoms, Calculator, float]:
    """Carbon that only its cell holds together, its potential, and the pressure in it, GPa."""
    atoms = carbons(1)[0]
    atoms.calc = Calculator(repulsion)
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True), atoms.calc, pressure(atoms) / units.GPa


@pytest.mark.parametrize("kind", [NoseHoover, pytest.param(NPT, marks=pytest.mark.slow)])
def test_what_is_conserved_fluctuates_as_the_square_of_the_time_step_and_does_not_drift(
    kind: Any, crystal: tuple[Atoms, Calculator, float], run: Run
) -> None:
    atoms, calculator, inside = crystal
    changed = CHAIN if kind is NoseHoover else {**CHAIN, "pressure_GPa": inside, "barostat_fs": 200.0}
    sigma = []
    for timestep in (2.0, 4.0):
        numbers = {"timestep_fs": timestep, "temperature_K": 100.0, "duration_ps": 0.5, "sample_every_fs": 4.0, "equilibration_ps": 0.048}
        trajectory = run(kind, atoms, calculator, **numbers, **changed)
        found = conservation(trajectory)
        assert abs(found.drift.value) < max(0.05, 4 * found.drift.error)
        sigma.append(trajectory.conserved.std())
        assert trajectory.total.std() > 20 * trajectory.conserved.std()
    assert np.log2(sigma[1] / sigma[0]) == pytest.approx(2.0, abs=0.5)


@pytest.mark.slow
def test_a_molecule_that_does_not_rotate_is_canonical(run: Run, argon: Atoms) -> None:
    """Six degrees of freedom: ASE's count of twelve would keep it at twice the temperature."""
    trajectory = run(
        NoseHoover,
        argon,
        Pairs(),
        timestep_fs=10.0,
        temperature_K=15.0,
        duration_ps=80.0,
        equilibration_ps=2.0,
        sample_every_fs=100.0,
        thermostat_fs=500.0,
        chain_length=3,
    )
    temperature = mean(trajectory.temperature_K)
    assert temperature.error < 0.8
    assert temperature.value == pytest.approx(15.0, abs=4 * temperature.error)
    found = canonical_test(trajectory, 15.0)
    assert found.samples > 50
    assert found.p_value > 0.001
    np.testing.assert_allclose(trajectory.positions.mean(1), np.broadcast_to(trajectory.positions[0].mean(0), (801, 3)), atol=1e-9)


@pytest.mark.slow
def test_a_crystal_takes_the_pressure_that_it_is_given(crystal: tuple[Atoms, Calculator, float], run: Run) -> None:
    """⟨P⟩ = P₀ and ⟨T⟩ that of the bath, from a cell that is too large; the cell keeps its shape."""
    atoms, calculator, inside = crystal
    numbers = {"timestep_fs": 2.0, "temperature_K": 300.0, "duration_ps": 10.0, "equilibration_ps": 0.2, "sample_every_fs": 10.0}
    trajectory = run(NPT, atoms, calculator, **numbers, **CHAIN, pressure_GPa=inside + 20.0, barostat_fs=200.0)
    late = trajectory.time_ps > 2.0
    found = mean(trajectory.pressure[late] / units.GPa)
    assert found.error < 3.0
    assert found.value == pytest.approx(inside + 20.0, abs=4 * found.error)
    assert np.linalg.det(trajectory.cell[late]).mean() < 0.98 * np.linalg.det(trajectory.cell[0])
    shape = trajectory.cell / np.linalg.norm(trajectory.cell, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(shape, np.broadcast_to(shape[0], shape.shape), atol=1e-12)
    temperature = mean(trajectory.temperature_K[late])
    assert temperature.value == pytest.approx(300.0, abs=4 * temperature.error)


def test_the_cell_of_other_dynamics_has_no_pressure(run: Run) -> None:
    atoms = copper()
    trajectory = run(NoseHoover, atoms, Springs(atoms, 1.0), duration_ps=0.02, **CHAIN)
    assert np.isnan(trajectory.pressure).all()
