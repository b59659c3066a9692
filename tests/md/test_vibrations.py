"""The spectrum of velocities against motion whose frequencies are known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from md_systems import sampled
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from nnpx import units
from nnpx.figures import svg
from nnpx.md import figures
from nnpx.md.langevin import Langevin
from nnpx.md.nve import NVE
from nnpx.md.trajectory import Trajectory
from nnpx.md.vibrations import PER_CM, internal_velocities, spectrum

STIFFNESS = 35.0  # eV/Å², about that of hydrogen


class Spring(Calculator):
    """V = ½ k (r − r₀)² between two atoms."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's interface

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        vector = self.atoms.positions[1] - self.atoms.positions[0]
        length = np.linalg.norm(vector)
        pull = STIFFNESS * (length - 0.74) * vector / length
        self.results = {"energy": 0.5 * STIFFNESS * (length - 0.74) ** 2, "forces": np.array([pull, -pull])}


OSCILLATORS = Atoms("Ar3", np.zeros((3, 3)), cell=[9.0] * 3, pbc=True)


def oscillating(frequency: float, width: float, random: np.random.Generator) -> np.ndarray:
    """Velocities of ẍ = −ω²x − Γẋ + noise every 4 fs, exactly, with ⟨v²⟩ = 1; their spectrum is highest at ω."""
    omega = 2 * np.pi * frequency
    step, still = expm(0.004 * np.array([[0.0, 1.0], [-(omega**2), -width]])), np.diag([omega**-2, 1.0])
    kick = np.linalg.cholesky(still - step @ still @ step.T) if width else np.zeros((2, 2))
    state, velocities = np.sqrt(still) @ random.standard_normal((2, 9)), np.empty((2500, 9))
    for k in range(2500):
        velocities[k] = state[1]
        state = step @ state + kick @ random.standard_normal((2, 9))
    return velocities.reshape(2500, 3, 3)


def test_a_harmonic_molecule_vibrates_at_its_frequency(run: Callable[..., Trajectory]) -> None:
    """ν = √(k/μ)/2π, in cm⁻¹ and in THz."""
    hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    expected = np.sqrt(STIFFNESS / (0.5 * 1.008)) / (2 * np.pi) * units.fs * 1000.0
    # hydrogen has 4401
    assert expected * PER_CM == pytest.approx(4348.0, abs=20.0)
    trajectory = run(NVE, hydrogen, Spring(), timestep_fs=0.4, temperature_K=100.0, duration_ps=2.0, sample_every_fs=2.0)
    found = spectrum(trajectory)
    resolution = 5.0 / 2.0
    assert found.peak_per_cm.value == pytest.approx(expected * PER_CM, abs=0.6 * resolution * PER_CM)
    assert (found.density * np.gradient(found.frequency)).sum() == pytest.approx(1.0, rel=0.05)
    near = abs(found.frequency - expected) < 2.5 * resolution
    assert found.density[near].sum() > 0.95 * found.density[1:].sum()
    assert "cm⁻¹" in svg(figures.vibrations(found, found))


def test_a_heat_bath_that_moves_the_whole_does_not_hide_the_vibration(run: Callable[..., Trajectory]) -> None:
    """Five of the six degrees of freedom of a diatomic molecule in a bath are slow: it drifts and turns."""
    heavy = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], masses=[14.0, 14.0])
    expected = np.sqrt(STIFFNESS / 7.0) / (2 * np.pi) * units.fs * 1000.0
    found = spectrum(run(Langevin, heavy, Spring(), timestep_fs=2.0, temperature_K=300.0, duration_ps=1.6))
    assert found.peak_per_cm.value == pytest.approx(expected * PER_CM, abs=0.6 * 5.0 / 1.6 * PER_CM)
    assert found.density[abs(found.frequency - expected) < 10.0].sum() > 0.9 * found.density.sum()


def test_a_molecule_that_tumbles_has_the_frequencies_of_one_that_does_not() -> None:
    """Water turns about a tilted axis at 1 THz and drifts unevenly; one O–H bond vibrates at 60 THz with a hundredth of the energy."""
    water, time = molecule("H2O"), np.arange(1000) * 0.004

    def positions(at: np.ndarray) -> np.ndarray:
        bonds = water.positions + np.eye(3)[1][:, None] * 0.002 * np.sin(2 * np.pi * 60.0 * at)[:, None, None] * [0.0, 0.6, -0.8]
        turned = Rotation.from_rotvec(2 * np.pi * at[:, None] * [0.0, 0.6, 0.8]).as_matrix()
        return np.einsum("tij,taj->tai", turned, bonds) + np.sin(3.0 * at)[:, None, None] * [1.0, 0.0, 2.0]

    velocities = (positions(time + 1e-6) - positions(time - 1e-6)) / 2e-6
    free = sampled(water, positions(time), velocities=velocities, time_ps=time)
    kinetic = [(water.get_masses() * (one**2).sum(2)).sum() for one in (internal_velocities(free), velocities)]
    assert kinetic[0] < 0.1 * kinetic[1]
    found = spectrum(free)
    assert found.frequency[1:][np.argmax(found.density[1:])] == pytest.approx(60.0, abs=2.5)
    assert found.density[abs(found.frequency - 60.0) < 6.0].sum() > 0.98 * found.density.sum()


def test_bending_to_all_sides_in_turn_is_no_rotation() -> None:
    """CO2 whose carbon goes round the axis at 20 THz: two bending vibrations at once."""
    line, time = molecule("CO2"), np.arange(1000) * 0.004
    round_about = np.stack([np.cos(2 * np.pi * 20.0 * time), np.sin(2 * np.pi * 20.0 * time), np.zeros(1000)], 1)
    shares = np.array([0.1, -0.1 * 12.011 / 31.998, -0.1 * 12.011 / 31.998])
    away = round_about[:, None] * shares[:, None]
    velocities = np.cross([0.0, 0.0, 2 * np.pi * 20.0], away)
    found = spectrum(sampled(line, line.positions + away, velocities=velocities, time_ps=time))
    assert found.density[abs(found.frequency - 20.0) < 3.0].sum() > 0.98 * found.density.sum()


@pytest.mark.parametrize("units", [3, 20])
def test_a_long_chain_that_spins_about_its_axis_is_not_seen_to_spin(units: int) -> None:
    """CH2 after CH2 on a line: the spin of the whole, and one C–H bond that vibrates at 90 THz."""
    carbons = np.arange(units)[:, None] * [1.3, 0.0, 0.0] + np.array([0.0, 0.4, 0.0]) * (-1.0) ** np.arange(units)[:, None]
    sides = np.array([0.0, 0.6, 0.9]), np.array([0.0, 0.6, -0.9])
    hydrogens = [carbons + side * np.array([1.0, 1.0, 1.0]) * np.where(np.arange(units) % 2, -1.0, 1.0)[:, None] for side in sides]
    chain, time = Atoms(f"C{units}H{2 * units}", np.concatenate([carbons, *hydrogens])), np.arange(1000) * 0.004
    chain.positions -= chain.get_center_of_mass()

    def positions(at: np.ndarray) -> np.ndarray:
        moved = np.repeat(chain.positions[None], len(at), 0)
        moved[:, -1] += 0.002 * np.sin(2 * np.pi * 90.0 * at)[:, None] * sides[1]
        return np.einsum("tij,taj->tai", Rotation.from_rotvec(2 * np.pi * 1.25 * at[:, None] * [1.0, 0.0, 0.0]).as_matrix(), moved)

    velocities = (positions(time + 1e-6) - positions(time - 1e-6)) / 2e-6
    found = spectrum(sampled(chain, positions(time), velocities=velocities, time_ps=time))
    assert found.frequency[1:][np.argmax(found.density[1:])] == pytest.approx(90.0, abs=2.5)


def test_a_crystal_has_no_motion_of_the_whole_but_keeps_its_turning() -> None:
    """In a cell that drifts two atoms go round one another at 30 THz."""
    time = np.arange(1000) * 0.004
    pair = Atoms("Ar2", [[0, 0, 0], [1, 0, 0]], cell=[9.0] * 3, pbc=True)
    apart = np.stack([np.cos(2 * np.pi * 30.0 * time), np.sin(2 * np.pi * 30.0 * time), np.zeros(1000)], 1)
    velocities = apart[:, None] * np.array([[1.0], [-1.0]]) + 50.0 * np.cos(time)[:, None, None]
    found = spectrum(sampled(pair, np.zeros((1000, 2, 3)), velocities=velocities, time_ps=time))
    assert found.density[abs(found.frequency - 30.0) < 3.0].sum() > 0.98 * found.density.sum()


def test_two_elements_share_the_spectrum_as_their_energies() -> None:
    """Σ m v² of each: motion of equal energy has equal areas, whatever moves."""
    time = np.arange(2000) * 0.004
    velocities = np.zeros((2000, 4, 3))
    velocities[:, 0, 0] = np.cos(2 * np.pi * 20.0 * time) / np.sqrt(1.008)
    velocities[:, 1, 1] = np.cos(2 * np.pi * 50.0 * time) / np.sqrt(15.999)
    # far from two heavy ones, so that nothing moves the whole
    pair = Atoms("HOAr2", np.zeros((4, 3)), masses=[1.008, 15.999, 1e6, 1e6], cell=[9.0] * 3, pbc=True)
    found = spectrum(sampled(pair, np.zeros((2000, 4, 3)), velocities=velocities, time_ps=time))
    areas = [found.density[abs(found.frequency - centre) < 3.0].sum() for centre in (20.0, 50.0)]
    assert areas[0] == pytest.approx(areas[1], rel=0.02)


@pytest.mark.parametrize("width", [0.0, 60.0])
def test_the_error_of_a_peak_is_how_far_it_lies_from_the_frequency(width: float) -> None:
    """Oscillators without friction, whose line is sharper than the grid, and with that of a band (Γ in 1/ps): the top is the frequency."""
    found, random = [], np.random.default_rng(0)
    for _ in range(40):
        exact = 40.0 + random.uniform(0.0, 0.5)
        one = spectrum(
            sampled(OSCILLATORS, np.zeros((2500, 3, 3)), velocities=oscillating(exact, width, random), time_ps=0.004 * np.arange(2500))
        )
        assert one.resolution_per_cm == pytest.approx(PER_CM)  # in fifths of 10 ps
        found.append([(one.peak_per_cm.value / PER_CM - exact) ** 2, (one.peak_per_cm.error / PER_CM) ** 2])
    away, stated = np.sqrt(np.mean(found, axis=0))
    assert stated == pytest.approx(away, rel=0.25)


def test_what_is_at_rest_has_no_peak() -> None:
    assert np.isnan(spectrum(sampled(OSCILLATORS, np.zeros((100, 3, 3)))).peak_per_cm.value)


def test_a_short_trajectory_has_no_spectrum() -> None:
    assert spectrum(sampled(molecule("H2"), np.zeros((20, 2, 3)))) is None


def test_an_atom_alone_has_no_spectrum() -> None:
    assert spectrum(sampled(Atoms("Ar"), np.zeros((1000, 1, 3)), velocities=np.ones((1000, 1, 3)))) is None
