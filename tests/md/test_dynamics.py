"""The equations of motion against mechanics and statistical mechanics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from md_systems import Springs, watchdog

from nnpx import units
from nnpx.md import Dynamics
from nnpx.md.langevin import Langevin
from nnpx.md.momenta import draw_momenta, internal_degrees_of_freedom, remove_rigid_motion
from nnpx.md.nose_hoover import NoseHoover
from nnpx.md.nve import NVE
from nnpx.md.observables import conservation, mean
from nnpx.md.trajectory import Trajectory

Run = Callable[..., Trajectory]


def test_fluctuation_of_the_total_energy_falls_as_the_square_of_the_time_step(run: Run, argon: Atoms, lennard_jones: LennardJones) -> None:
    """The slope of log σ(E) against log Δt is 2 for velocity Verlet."""
    steps = np.array([5.0, 10.0, 20.0])
    sigma = [run(NVE, argon, lennard_jones, timestep_fs=dt, duration_ps=4.0, sample_every_fs=20.0).total.std() for dt in steps]
    slope = np.polyfit(np.log(steps), np.log(sigma), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.1)


def test_total_energy_of_copper_does_not_drift(run: Run) -> None:
    crystal = bulk("Cu", cubic=True)
    trajectory = run(NVE, crystal, EMT(), timestep_fs=2.0, duration_ps=2.0, temperature_K=300.0, sample_every_fs=10.0)
    found = conservation(trajectory)
    assert abs(found.drift.value) < max(0.05, 3 * found.drift.error)
    assert found.fluctuation < 0.05 * 1.5 * 300 * units.K / units.meV


class Smeared(Springs):
    """The free energy belongs to the forces; the energy is extrapolated to no smearing, and not conserved."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012  ASE's interface

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["free_energy"] = self.results["energy"]
        self.results["energy"] *= 1.5


@pytest.mark.parametrize("dynamics", [NVE, NoseHoover])
def test_what_is_conserved_with_smeared_occupations_is_the_free_energy(run: Run, dynamics: type[Dynamics]) -> None:
    atoms = Atoms("Ar8", 4.0 * np.argwhere(np.ones((2, 2, 2))).astype(float))
    chain = {"thermostat_fs": 50.0, "chain_length": 3} if dynamics is NoseHoover else {}
    how: dict[str, Any] = {"duration_ps": 1.0, "temperature_K": 300.0, **chain}
    plain, smeared = (run(dynamics, atoms, kind(atoms, 1.0), **how) for kind in (Springs, Smeared))
    np.testing.assert_array_equal(smeared.potential, plain.potential)
    np.testing.assert_array_equal(smeared.conserved, plain.conserved)


def test_langevin_holds_the_temperature_of_a_harmonic_solid(run: Run) -> None:
    """⟨T⟩ is the target, and equipartition gives ⟨V⟩ = 3/2 N k T."""
    atoms = Atoms("Ar8", 4.0 * np.argwhere(np.ones((2, 2, 2))).astype(float))
    trajectory = run(
        Langevin,
        atoms,
        Springs(atoms, 1.0),
        temperature_K=300.0,
        friction_per_fs=0.01,
        duration_ps=20.0,
        equilibration_ps=1.0,
        timestep_fs=5.0,
        sample_every_fs=20.0,
    )
    temperature = mean(trajectory.temperature_K)
    assert temperature.error < 10.0
    assert temperature.value == pytest.approx(300.0, abs=4 * temperature.error)
    potential = mean(trajectory.potential / (1.5 * 8 * units.K))
    assert potential.value == pytest.approx(300.0, abs=4 * potential.error)


def test_langevin_fluctuates_as_the_canonical_ensemble_does(run: Run) -> None:
    """var(E_kin) = f/2 (kT)²."""
    atoms = Atoms("Ar8", 4.0 * np.argwhere(np.ones((2, 2, 2))).astype(float))
    trajectory = run(
        Langevin,
        atoms,
        Springs(atoms, 1.0),
        temperature_K=300.0,
        friction_per_fs=0.02,
        duration_ps=20.0,
        equilibration_ps=1.0,
        timestep_fs=5.0,
        sample_every_fs=50.0,
    )
    expected = 12.0 * (300.0 * units.K) ** 2
    assert trajectory.kinetic.var() == pytest.approx(expected, rel=0.25)


def test_the_same_seed_gives_the_same_trajectory(run: Run, argon: Atoms, lennard_jones: LennardJones) -> None:
    one, two, other = (run(Langevin, argon, lennard_jones, seed=seed, duration_ps=0.1) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.total, two.total)
    assert not np.array_equal(one.positions, other.positions)


def test_the_start_structure_is_not_touched(run: Run, argon: Atoms, lennard_jones: LennardJones) -> None:
    before = argon.positions.copy()
    run(NVE, argon, lennard_jones, duration_ps=0.1)
    np.testing.assert_array_equal(argon.positions, before)
    assert argon.calc is None


def test_momenta_have_the_width_of_maxwell_and_boltzmann() -> None:
    atoms = Atoms("H2000O2000", np.zeros((4000, 3)))
    draw_momenta(atoms, 300.0, np.random.default_rng(0))
    for chosen in (slice(0, 2000), slice(2000, 4000)):
        mass = atoms.get_masses()[chosen][0]
        assert atoms.get_momenta()[chosen].var() / mass == pytest.approx(300.0 * units.K, rel=0.05)


@pytest.mark.parametrize("tilt", [0.0, 33.0])
@pytest.mark.parametrize(("name", "degrees"), [("CH3CH2OH", 21), ("CO2", 4), ("N2", 1)])
def test_rigid_motion_is_taken_out_and_not_counted(name: str, degrees: int, tilt: float) -> None:
    """3N − 6 degrees of freedom, 3N − 5 for a linear molecule, carry ½ kT each."""
    atoms = molecule(name)
    if tilt:
        atoms.rotate(tilt, (1, 2, 3))
    assert internal_degrees_of_freedom(atoms) == degrees
    energies = []
    random = np.random.default_rng(1)
    for _ in range(200):
        draw_momenta(atoms, 300.0, random)
        remove_rigid_motion(atoms)
        np.testing.assert_allclose(atoms.get_momenta().sum(0), 0.0, atol=1e-12)
        np.testing.assert_allclose(atoms.get_angular_momentum(), 0.0, atol=1e-10)
        energies.append(atoms.get_kinetic_energy())
    assert np.mean(energies) == pytest.approx(0.5 * degrees * 300.0 * units.K, rel=4 * np.sqrt(2 / degrees / 200))


def test_nve_conserves_momentum_and_angular_momentum(run: Run, argon: Atoms, lennard_jones: LennardJones) -> None:
    trajectory = run(NVE, argon, lennard_jones, duration_ps=0.5, equilibration_ps=0.2)
    start = trajectory.positions[0].mean(0)
    np.testing.assert_allclose(trajectory.positions.mean(1), np.broadcast_to(start, (len(trajectory.positions), 3)), atol=1e-10)
    assert trajectory.degrees_of_freedom == 6


def test_samples_come_at_equal_times(run: Run, argon: Atoms, lennard_jones: LennardJones) -> None:
    trajectory = run(NVE, argon, lennard_jones, duration_ps=0.1, sample_every_fs=20.0, equilibration_ps=0.01, watchdog=watchdog())
    np.testing.assert_allclose(trajectory.time_ps, [0.0, 0.02, 0.04, 0.06, 0.08, 0.1])
    assert trajectory.steps == 110
