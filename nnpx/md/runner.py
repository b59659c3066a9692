"""Run one trajectory: move, watch, record."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.md import MolecularDynamics
from jaxtyping import Float

from nnpx.errors import GeometryError, SimulationError
from nnpx.md import Dynamics
from nnpx.md.momenta import draw_momenta, remove_rigid_motion
from nnpx.md.trajectory import Trajectory
from nnpx.md.watchdog import Guard

#: called with the steps done and the steps in all, equilibration included
Progress = Callable[[int, int], None]


def simulate(
    dynamics: Dynamics, start: Atoms, calculator: BaseCalculator, *, seed: int, name: str, file: Path, progress: Progress
) -> Trajectory:
    """Equilibrate, then sample; every sample is appended to `file` (extxyz) at once, so what is computed is kept whatever follows.

    Args:
        dynamics: equations of motion, lengths and bounds.
        start: first structure; neither it nor its calculator is touched.
        calculator: the potential.
        seed: of momenta and noise. The same seed gives the same trajectory.
        name: what the trajectory is called in messages and frames.
        file: trajectory to append to.
        progress: told after every sample how many steps are done of how many.

    Raises:
        SimulationError: if the trajectory leaves the watchdog's bounds.
    """
    random = np.random.default_rng(seed)
    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=start.pbc, calculator=calculator)
    draw_momenta(atoms, dynamics.temperature_K, random)
    remove_rigid_motion(atoms)
    guard = dynamics.watchdog.guard(
        atoms,
        bond_factor=dynamics.bond_factor,
        target_K=dynamics.temperature_K,
        timestep_fs=dynamics.timestep_fs,
        name=name,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        return _Recorder(dynamics, atoms, guard, stream=stream, name=name, progress=progress).run(random)


class _Recorder:
    """One trajectory in the making: the atoms, their guard, and the samples so far."""

    def __init__(self, dynamics: Dynamics, atoms: Atoms, guard: Guard, *, stream: TextIO, name: str, progress: Progress) -> None:
        self.dynamics, self.atoms, self.guard, self.stream, self.name, self.progress = dynamics, atoms, guard, stream, name, progress
        self.positions: list[Float[np.ndarray, "atom 3"]] = []
        self.rows: list[tuple[float, float, float, float]] = []

    def run(self, random: np.random.Generator) -> Trajectory:
        """Equilibration and production."""
        began = time.perf_counter()
        dynamics, atoms = self.dynamics, self.atoms
        warm_up = dynamics.equilibration_steps
        if warm_up:
            self._advance(lambda: dynamics.thermostat(atoms, random), first=0, steps=warm_up, sampled=False)
        origin = atoms.copy()
        self._advance(lambda: dynamics.integrator(atoms, random), first=warm_up, steps=dynamics.steps, sampled=True)
        time_ps, potential, kinetic, energy_std = np.array(self.rows).T
        return Trajectory(
            start=origin,
            degrees_of_freedom=dynamics.degrees_of_freedom(origin),
            timestep_fs=dynamics.timestep_fs,
            time_ps=time_ps,
            positions=np.array(self.positions),
            potential=potential,
            kinetic=kinetic,
            energy_std=energy_std,
            steps=warm_up + dynamics.steps,
            wall_s=time.perf_counter() - began,
        )

    def _advance(self, integrator: Callable[[], MolecularDynamics], *, first: int, steps: int, sampled: bool) -> None:
        """Run some steps, watching every force and every sampled geometry; the step is counted from the first of the equilibration."""
        every, total, step = self.dynamics.stride, self.dynamics.equilibration_steps + self.dynamics.steps, first
        try:
            # ASE's BAOAB asks for forces when it is made, so making it belongs to what may fail
            for step, _ in enumerate(integrator().irun(steps), start=first):
                self.guard.forces(step, self.atoms, self.atoms.get_forces())
                if (step - first) % every == 0:
                    self._watch(step)
                    if sampled:
                        self._record(step)
                    self.progress(step, total)
        except (GeometryError, CalculatorError) as reason:
            # the step that failed is the one after the last that was seen
            raise self.guard.failed(step + 1, self.atoms, reason) from reason
        except SimulationError:
            self._keep_last(step)
            raise

    def _watch(self, step: int) -> None:
        self.guard.geometry(step, self.atoms)
        self.guard.temperature(step, self.atoms, self.dynamics.degrees_of_freedom(self.atoms))

    def _record(self, step: int) -> None:
        row = (
            self._time_ps(step),
            float(self.atoms.get_potential_energy()),
            float(self.atoms.get_kinetic_energy()),
            self._spread(),
        )
        self.rows.append(row)
        self.positions.append(self.atoms.get_positions())
        self._append(row)

    def _spread(self) -> float:
        """The members' spread of the energy, where the calculator is an ensemble."""
        calculator = self.atoms.calc
        known = "energy_std" in calculator.implemented_properties
        return float(calculator.get_property("energy_std", self.atoms)) if known else float("nan")

    def _keep_last(self, step: int) -> None:
        """The structure at which the bounds were left is the one to look at, so it ends the file if it can be written."""
        energy = float(self.atoms.get_potential_energy())
        if np.isfinite(self.atoms.positions).all() and np.isfinite(energy):
            row = (self._time_ps(step), energy, float(self.atoms.get_kinetic_energy()), float("nan"))
            self._append(row)

    def _time_ps(self, step: int) -> float:
        """Negative during the equilibration."""
        return (step - self.dynamics.equilibration_steps) * self.dynamics.timestep_fs / 1000.0

    def _append(self, row: tuple[float, float, float, float]) -> None:
        time_ps, potential, kinetic, energy_std = row
        frame = self.atoms.copy()
        frame.info.update(run=self.name, time_ps=time_ps, kinetic_energy=kinetic)
        if np.isfinite(energy_std):
            frame.info["energy_std"] = energy_std
        frame.calc = SinglePointCalculator(frame, energy=potential, forces=self.atoms.get_forces())
        write(self.stream, frame, format="extxyz")
        self.stream.flush()
