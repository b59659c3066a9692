"""The spectrum of velocities against motion whose frequencies are known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from md_systems import sampled

from nnpx import units
from nnpx.figures import svg
from nnpx.md import figures
from nnpx.md.nve import NVE
from nnpx.md.trajectory import Trajectory
from nnpx.md.vibrations import PER_CM, spectrum

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


def test_a_harmonic_molecule_vibrates_at_its_frequency(run: Callable[..., Trajectory]) -> None:
    """ν = √(k/μ)/2π, in cm⁻¹ and in THz."""
    molecule = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    expected = np.sqrt(STIFFNESS / (0.5 * 1.008)) / (2 * np.pi) * units.fs * 1000.0
    # hydrogen has 4401
    assert expected * PER_CM == pytest.approx(4348.0, abs=20.0)
    trajectory = run(NVE, molecule, Spring(), timestep_fs=0.2, temperature_K=100.0, duration_ps=2.0, sample_every_fs=2.0)
    found = spectrum(trajectory)
    resolution = 5.0 / 2.0
    assert found.peak_per_cm == pytest.approx(expected * PER_CM, abs=0.6 * resolution * PER_CM)
    assert (found.density * np.gradient(found.frequency)).sum() == pytest.approx(1.0, rel=0.05)
    near = abs(found.frequency - expected) < 2.5 * resolution
    assert found.density[near].sum() > 0.95 * found.density[1:].sum()
    assert "cm⁻¹" in svg(figures.vibrations(found, found))


def test_two_elements_share_the_spectrum_as_their_energies() -> None:
    """Σ m v² of each: motion of equal energy has equal areas, whatever moves."""
    time = np.arange(2000) * 0.004
    velocities = np.zeros((2000, 2, 3))
    velocities[:, 0, 0] = np.cos(2 * np.pi * 20.0 * time) / np.sqrt(1.008)
    velocities[:, 1, 1] = np.cos(2 * np.pi * 50.0 * time) / np.sqrt(15.999)
    pair = Atoms("HO", np.zeros((2, 3)))
    found = spectrum(sampled(pair, np.zeros((2000, 2, 3)), velocities=velocities, time_ps=time))
    areas = [found.density[abs(found.frequency - centre) < 3.0].sum() for centre in (20.0, 50.0)]
    assert areas[0] == pytest.approx(areas[1], rel=0.02)


def test_a_short_trajectory_has_no_spectrum() -> None:
    assert spectrum(sampled(Atoms("H"), np.zeros((20, 1, 3)))) is None
