"""A simulation that explodes stops, says where, and keeps what it has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.io import read
from md_systems import Springs, watchdog
from omegaconf import OmegaConf

from nnpx.config import compose
from nnpx.errors import GeometryError, SimulationError
from nnpx.md.langevin import Langevin
from nnpx.md.nve import NVE
from nnpx.md.trajectory import Trajectory

Run = Callable[..., Trajectory]


class Pull(Calculator):
    """A constant force between two atoms, and a fault after some calls."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's interface

    def __init__(self, pair: tuple[int, int], force: float, fault: str = "", after: int = 0) -> None:
        super().__init__()
        self.pair, self.force, self.fault, self.after, self.calls = pair, force, fault, after, 0

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        i, j = self.pair
        vector = self.atoms.positions[j] - self.atoms.positions[i]
        forces = np.zeros((len(self.atoms), 3))
        forces[i] = self.force * vector / np.linalg.norm(vector)
        forces[j] = -forces[i]
        if self.calls > self.after and self.fault == "nan":
            forces[j, 1] = np.nan
        if self.calls > self.after and self.fault == "refuse":
            raise GeometryError("structure", expected="atoms apart", found="atoms that coincide", do="Correct it.")
        self.results = {"energy": 0.0, "forces": forces}


def message(run: Run, atoms: Atoms, calculator: Calculator, **changed: Any) -> str:
    with pytest.raises(SimulationError) as caught:
        run(NVE, atoms, calculator, timestep_fs=0.5, temperature_K=1.0, sample_every_fs=1.0, **changed)
    return str(caught.value)


def test_two_atoms_that_collapse_are_named(run: Run) -> None:
    found = message(run, molecule("HF"), Pull((0, 1), 2.0), watchdog=watchdog(min_distance=0.8, max_temperature_ratio=1e9))
    assert "atom 0 (F) and atom 1 (H) at 0.7" in found
    assert "no two atoms closer than 0.8 Å" in found
    assert found.startswith("step ")
    assert "of test" in found


def test_a_bond_that_is_torn_is_named_with_its_length_at_the_start(run: Run) -> None:
    found = message(run, molecule("CH3CH2OH"), Pull((2, 3), -20.0), watchdog=watchdog(max_bond_change=0.3, max_temperature_ratio=1e9))
    assert "atom 2 (O) and atom 3 (H)" in found
    assert "0.97" in found


def test_an_atom_that_flies_off_is_named(run: Run, argon: Atoms) -> None:
    found = message(run, argon, Pull((1, 2), -2.0), watchdog=watchdog(max_isolation=6.0, max_temperature_ratio=1e9))
    assert "alone" in found
    assert "atom 1 (Ar)" in found or "atom 2 (Ar)" in found


def test_a_force_that_is_not_a_number_is_named_at_its_step(run: Run, argon: Atoms) -> None:
    found = message(run, argon, Pull((0, 3), 0.0, fault="nan", after=5))
    assert "step 5 (0.0025 ps)" in found
    assert "nan eV/Å on atom 3 (Ar)" in found
    assert "3.8" in found


def test_a_force_above_the_bound_is_named(run: Run, argon: Atoms) -> None:
    found = message(run, argon, Pull((0, 3), 50.0), watchdog=watchdog(max_force=40.0))
    assert "50 eV/Å on atom 0 (Ar)" in found


def test_a_runaway_temperature_is_named(run: Run, argon: Atoms) -> None:
    found = message(run, argon, Pull((0, 3), 0.5), watchdog=watchdog(max_temperature_ratio=5.0))
    assert "a temperature below 5 K" in found


BROKEN = {
    "max_force": (Pull((0, 1), 50.0), {"max_force": 40.0}),
    "min_distance": (Pull((0, 1), 2.0), {"min_distance": 0.8, "max_temperature_ratio": 1e9}),
    "max_bond_change": (Pull((0, 1), -20.0), {"max_bond_change": 0.3, "max_temperature_ratio": 1e9}),
    "max_isolation": (Pull((0, 1), -20.0), {"max_isolation": 2.0, "max_temperature_ratio": 1e9}),
    "max_temperature_ratio": (Pull((0, 1), 2.0), {"max_temperature_ratio": 5.0}),
}


@pytest.mark.parametrize("bound", BROKEN)
def test_the_advice_is_the_key_of_the_bound(run: Run, bound: str) -> None:
    pull, bounds = BROKEN[bound]
    key = f"md.watchdog.{bound}"
    assert f"change {key} (of several runs, md.RUN.watchdog.{bound})" in message(run, molecule("HF"), pull, watchdog=watchdog(**bounds))
    assert OmegaConf.select(OmegaConf.create(compose(["md=nve"])), key) is not None


@pytest.mark.parametrize(("after", "clock"), [(7, "equilibration, step 7 (0.0035 ps)"), (27, "step 7 (0.0035 ps)")])
def test_time_counts_from_the_end_of_the_equilibration(run: Run, argon: Atoms, after: int, clock: str) -> None:
    """Production begins at step 20, whose forces are known from the equilibration."""
    found = message(run, argon, Pull((0, 3), 0.0, fault="nan", after=after), equilibration_ps=0.01)
    assert found.startswith(f"{clock} of test")


def test_a_structure_that_the_potential_refuses_is_named(run: Run, argon: Atoms) -> None:
    found = message(run, argon, Pull((0, 3), 0.0, fault="refuse", after=7))
    assert "step 7 " in found
    assert "atoms that coincide" in found


def test_what_was_computed_is_kept_and_ends_with_the_bad_structure(run: Run, tmp_path: Path) -> None:
    message(run, molecule("HF"), Pull((0, 1), 0.5), watchdog=watchdog(min_distance=0.8, max_temperature_ratio=1e9))
    frames = read(tmp_path / "trajectory.extxyz", ":")
    assert len(frames) > 2
    distances = [frame.get_distance(0, 1) for frame in frames]
    assert distances[-1] < 0.8 < min(distances[:-1])
    np.testing.assert_allclose([frame.info["time_ps"] for frame in frames[:-1]], 0.001 * np.arange(len(frames) - 1))
    assert frames[0].get_forces().shape == (2, 3)


def test_a_healthy_simulation_passes_every_bound(run: Run, argon: Atoms, lennard_jones: LennardJones) -> None:
    bounds = watchdog(min_distance=2.5, max_bond_change=1.0, max_isolation=6.0, max_force=5.0, max_temperature_ratio=10.0)
    assert len(run(Langevin, argon, lennard_jones, duration_ps=1.0, watchdog=bounds).time_ps) == 251


def test_one_atom_alone_can_be_simulated(run: Run) -> None:
    atom = Atoms("Ar", [[0.0, 0.0, 0.0]])
    assert len(run(Langevin, atom, Springs(atom, 1.0), watchdog=watchdog(max_isolation=5.0, max_bond_change=0.5)).time_ps) == 251
