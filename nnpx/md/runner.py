"""Run one trajectory: move, watch, record."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.md import MolecularDynamics

from nnpx import units
from nnpx.errors import GeometryError, SimulationError
from nnpx.md import Dynamics
from nnpx.md.momenta import pressure
from nnpx.md.record import Record
from nnpx.md.trajectory import Trajectory, from_samples, structure_at_start
from nnpx.md.walker import Walker, start_walker
from nnpx.md.watchdog import Guard
from nnpx.reference import potential_energy

#: called with the steps done and the steps in all, equilibration included
Progress = Callable[[int, int], None]
#: begins the names of what an integrator remembers
_INTEGRATOR: Final = "integrator "


def simulate(
    dynamics: Dynamics, start: Atoms, calculator: BaseCalculator, *, seed: int, name: str, record: Record, progress: Progress
) -> Trajectory:
    """Equilibrate, then sample; every sample is on disk at once, so what is computed is kept whatever follows.

    A run whose record has a state goes on from there, and the trajectory is the same to the last bit as if it had not stopped, provided
    that the calculator gives the same forces for the same positions. A run that had ended is not repeated.

    Args:
        dynamics: equations of motion, lengths and bounds.
        start: first structure; neither it nor its calculator is touched.
        calculator: the potential.
        seed: of momenta and noise. The same seed gives the same trajectory.
        name: what the trajectory is called in messages and frames.
        record: what is written, and what was written before by the same dynamics from the same start.
        progress: told after every sample how many steps are done of how many.

    Raises:
        SimulationError: if the trajectory leaves the watchdog's bounds.
    """
    fresh = start_walker(start, temperature_K=dynamics.temperature_K, seed=seed)
    guard = dynamics.watchdog.guard(
        fresh.atoms,
        bond_factor=dynamics.bond_factor,
        target_K=dynamics.temperature_K,
        timestep_fs=dynamics.timestep_fs,
        name=name,
        equilibration_steps=dynamics.equilibration_steps,
    )
    walker = record.resume() or fresh
    walker.atoms.calc = calculator
    return _Recorder(dynamics, walker, guard, record=record, name=name, progress=progress).run()


class _Recorder:
    """One trajectory in the making: the walker, its guard, and what is on disk so far."""

    def __init__(self, dynamics: Dynamics, walker: Walker, guard: Guard, *, record: Record, name: str, progress: Progress) -> None:
        self.dynamics, self.walker, self.guard, self.record, self.name, self.progress = dynamics, walker, guard, record, name, progress
        self.atoms = walker.atoms
        self.began = time.perf_counter() - float(walker.memory.get("wall_s", 0.0))

    def run(self) -> Trajectory:
        """Equilibration and production, as far as they are not done."""
        dynamics, random, record = self.dynamics, self.walker.random, self.record
        warm_up, total, is_sampled = dynamics.equilibration_steps, dynamics.equilibration_steps + dynamics.steps, len(record.samples()) > 0
        if self.walker.step < warm_up:
            goes_on = bool(self.walker.memory)
            self._advance(lambda: dynamics.thermostat(self.atoms, random), first=0, last=warm_up, sampled=False, goes_on=goes_on)
        if self.walker.step < total:
            self._advance(lambda: dynamics.integrator(self.atoms, random), first=warm_up, last=total, sampled=True, goes_on=is_sampled)
        samples = record.samples()
        start = structure_at_start(samples, self.atoms)
        return from_samples(
            samples,
            start=start,
            degrees_of_freedom=dynamics.degrees_of_freedom(start),
            timestep_fs=dynamics.timestep_fs,
            steps=total,
            wall_s=float(self.walker.memory["wall_s"]),
        )

    def _advance(self, make: Callable[[], MolecularDynamics], *, first: int, last: int, sampled: bool, goes_on: bool) -> None:
        """To the last step, counted from the first of the equilibration, watching every force and every sampled geometry."""
        every, total, begun = self.dynamics.stride, self.dynamics.equilibration_steps + self.dynamics.steps, self.walker.step
        step = begun
        try:
            # ASE's BAOAB asks for forces when it is made, so making it belongs to what may fail
            integrator = self._restored(make) if goes_on else make()
            for step, _ in enumerate(integrator.irun(last - begun), start=begun):
                if goes_on and step == begun:
                    continue
                self.guard.forces(step, self.atoms, self.atoms.get_forces())
                if (step - first) % every == 0:
                    self._watch(step, sampled=sampled)
                    if sampled:
                        self._record(step, integrator)
                    if self.record.is_due():
                        self._keep(step, integrator)
                    self.progress(step, total)
            self._keep(last, integrator)
        except (GeometryError, CalculatorError) as reason:
            # the step that failed is the one after the last that was seen
            raise self.guard.failed(step + 1, self.atoms, reason) from reason
        except SimulationError:
            self._keep_last(step)
            raise

    def _keep(self, step: int, integrator: MolecularDynamics) -> None:
        """The state: whatever is a number or an array of an integrator decides how it goes on."""
        known = {name: np.array(value) for name, value in vars(integrator).items() if isinstance(value, float | np.ndarray)}
        self.walker.step = step
        self.walker.memory = {_INTEGRATOR + name: value for name, value in known.items()}
        self.walker.memory["wall_s"] = np.array(time.perf_counter() - self.began)
        self.record.keep(self.walker)

    def _restored(self, make: Callable[[], MolecularDynamics]) -> MolecularDynamics:
        """An integrator that remembers what it did; making one may change the momenta, as at the start of production."""
        momenta = self.atoms.get_momenta()
        integrator = make()
        self.atoms.set_momenta(momenta)
        for name, value in self.walker.memory.items():
            if name.startswith(_INTEGRATOR):
                setattr(integrator, name.removeprefix(_INTEGRATOR), value if value.ndim else float(value))
        return integrator

    def _watch(self, step: int, *, sampled: bool) -> None:
        self.guard.geometry(step, self.atoms)
        # the bath of the equilibration moves the whole molecule too
        degrees = self.dynamics.degrees_of_freedom(self.atoms) if sampled else 3 * len(self.atoms)
        self.guard.temperature(step, self.atoms, degrees)

    def _record(self, step: int, integrator: MolecularDynamics) -> None:
        atoms, spread = self.atoms, self._spread()
        numbers = {
            "time_ps": self._time_ps(step),
            "positions": atoms.positions,
            "potential": potential_energy(atoms),
            "kinetic": float(atoms.get_kinetic_energy()),
            "energy_std": spread,
            "velocities": atoms.get_velocities(),
            "cell": atoms.cell.array,
            "conserved": self.dynamics.conserved_energy(integrator),
            "pressure": pressure(atoms) if self.dynamics.moves_cell else float("nan"),
        }
        self.record.append_sample(numbers)
        self._append(step, spread)

    def _spread(self) -> float:
        """The members' spread of the energy, where the calculator is an ensemble."""
        calculator = self.atoms.calc
        known = "energy_std" in calculator.implemented_properties
        return float(calculator.get_property("energy_std", self.atoms)) if known else float("nan")

    def _keep_last(self, step: int) -> None:
        """The structure at which the bounds were left is the one to look at, so it ends the file if it can be written."""
        if np.isfinite(self.atoms.positions).all() and np.isfinite(self.atoms.get_potential_energy()):
            self._append(step, float("nan"))

    def _time_ps(self, step: int) -> float:
        """Negative during the equilibration."""
        return (step - self.dynamics.equilibration_steps) * self.dynamics.timestep_fs / 1000.0

    def _append(self, step: int, energy_std: float) -> None:
        frame = self.atoms.copy()
        frame.info.update(run=self.name, time_ps=self._time_ps(step), kinetic_energy=float(self.atoms.get_kinetic_energy()))
        if np.isfinite(energy_std):
            frame.info["energy_std"] = energy_std
        if self.dynamics.moves_cell:
            frame.info["pressure_GPa"] = pressure(self.atoms) / units.GPa
        frame.calc = SinglePointCalculator(frame, energy=potential_energy(self.atoms), forces=self.atoms.get_forces())
        self.record.append(frame)
