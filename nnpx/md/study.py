"""Trajectories of a potential, beside those of the engine that labelled its training data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from matplotlib.figure import Figure

from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError
from nnpx.md import Dynamics, Simulation, figures
from nnpx.md.angles import AngularDistribution, angular_distributions
from nnpx.md.beside import Beside
from nnpx.md.identity import identity
from nnpx.md.labelled_by import first_structure, is_foreign
from nnpx.md.observables import Distribution, distributions
from nnpx.md.pairs import RadialDistribution, displacements, radial_distributions
from nnpx.md.record import Joined, Record
from nnpx.md.replica_study import ReplicaStudy
from nnpx.md.replicas import Replicas, follow
from nnpx.md.runner import Progress, simulate
from nnpx.md.summary import Metrics, summary
from nnpx.md.trajectory import Trajectory
from nnpx.md.vibrations import Spectrum, spectrum
from nnpx.md.walker import refuse_constraints
from nnpx.reference import Reference
from nnpx.tracking import Run
from nnpx.tracking.records import flat_numbers

#: where states and the reference engine's trajectories are kept
FOLDER: Final = Path(".nnpx/simulate")
#: times at which a tracker is told the course of a trajectory; the trajectory itself is a file
_LOGGED: Final = 200


@dataclass(frozen=True)
class Study:
    """One trajectory of the potential, and what it says."""

    name: str  #: of the run
    dynamics: Dynamics  #: how it was made
    trajectory: Trajectory  #: of the potential
    reference: Trajectory | None  #: of the reference engine
    note: str  #: why there is no reference, if one was wanted; else empty

    def distributions(self) -> list[Distribution]:
        """Bond lengths and angles of the potential and the reference."""
        return distributions(self.trajectory, self.reference, self.dynamics.bond_factor)

    def radial_distributions(self) -> tuple[list[RadialDistribution], list[RadialDistribution]]:
        """Distances between elements, of the potential and of the reference; empty where there is none."""
        return radial_distributions(self.trajectory), radial_distributions(self.reference) if self.reference is not None else []

    def angular_distributions(self) -> tuple[list[AngularDistribution], list[AngularDistribution]]:
        """Angles between neighbours, whoever they are at the time, of the potential and of the reference."""
        factor = self.dynamics.bond_factor
        of_reference = angular_distributions(self.reference, factor) if self.reference is not None else []
        return angular_distributions(self.trajectory, factor), of_reference

    def spectra(self) -> tuple[Spectrum | None, Spectrum | None]:
        """Vibrations of the potential and of the reference; None where there is none or it is too short."""
        return spectrum(self.trajectory), spectrum(self.reference) if self.reference is not None else None

    def metrics(self) -> Metrics:
        """The numbers; what could not be measured is None."""
        return summary(self.dynamics, self.trajectory, self.reference)

    def pictures(self) -> dict[str, tuple[Figure, str]]:
        """The figures and their captions by name."""
        caption = f"{self.name}: temperature, and spread of the members where there are several."
        drawn_temperature = figures.temperature(self.trajectory, self.dynamics.temperature_K, self.reference)
        drawn = {f"{self.name}_temperature": (drawn_temperature, caption)}
        if self.dynamics.has_bath and self.trajectory.degrees_of_freedom:
            caption = f"{self.name}: how often a temperature occurs, and what the canonical ensemble expects."
            drawn[f"{self.name}_canonical"] = (
                figures.canonical(self.trajectory, self.dynamics.temperature_K, self.reference),
                caption,
            )
        if self.dynamics.conserved:
            caption = f"{self.name}: potential and total energy; below, the {self.dynamics.conserved} alone with its drift."
            drawn[f"{self.name}_energy"] = (figures.energy(self.trajectory, self.reference), caption)
        if self.dynamics.moves_cell:
            drawn[f"{self.name}_cell"] = (figures.cell(self.trajectory), f"{self.name}: pressure, and volume of the cell.")
        beside = " and of the reference engine in the same dynamics" if self.reference else ""
        found = self.distributions()
        if found:
            drawn[f"{self.name}_distributions"] = (figures.distributions(found), f"{self.name}: bonds and angles of the potential{beside}.")
        radial, reference = self.radial_distributions()
        if radial:
            caption = f"{self.name}: distances between elements, with standard errors, of the potential{beside}."
            drawn[f"{self.name}_distances"] = (figures.distances(radial, reference), caption)
        angular, of_reference = self.angular_distributions()
        if angular:
            caption = f"{self.name}: angles between the neighbours of the time, with standard errors, of the potential{beside}."
            drawn[f"{self.name}_angles"] = (figures.angles(angular, of_reference), caption)
        wandered = displacements(self.trajectory) if self.trajectory.start.pbc.all() else []
        if any(len(one.lag_ps) for one in wandered):
            caption = f"{self.name}: squared displacements, with errors, of the potential{beside}; diffusion from the slope (dashed)."
            of_engine = displacements(self.reference) if self.reference is not None else []
            drawn[f"{self.name}_displacements"] = (figures.displacements(wandered, of_engine), caption)
        of_ours, of_theirs = self.spectra()
        if of_ours is not None:
            caption = f"{self.name}: spectrum of velocities less those of the whole, with standard errors, of the potential{beside}. "
            caption += f"Above {of_ours.frequency_per_cm[-1]:.0f} cm⁻¹ it folds back; "
            caption += f"lines closer than {of_ours.resolution_per_cm:.0f} cm⁻¹ are one."
            drawn[f"{self.name}_vibrations"] = (figures.vibrations(of_ours, of_theirs), caption)
        return drawn

    def log(self, run: Run) -> None:
        """Remember the numbers, and the course of temperature, energy and spread at a few hundred times."""
        run.log_metrics(flat_numbers({"simulate": {self.name: self.metrics()}}), step=0)
        one = self.trajectory
        for k in range(0, len(one.time_ps), max(1, len(one.time_ps) // _LOGGED)):
            values = {"temperature_K": one.temperature_K[k], "total_energy": one.total[k], "energy_std": one.energy_std[k]}
            finite = {f"simulate/{self.name}/course/{key}": float(value) for key, value in values.items() if np.isfinite(value)}
            run.log_metrics(finite, step=round(1000.0 * one.time_ps[k]))


def run_all(
    simulation: Simulation,
    calculator: BaseCalculator,
    ensemble: Ensemble,
    reference: Reference,
    *,
    labelled_by: str,
    seed: int,
    start: Path,
    workspace: Path,
    file: Path,
    potential: str,
    trusted: str,
    watch: Callable[[str, float], Progress],
) -> Sequence[Study | ReplicaStudy]:
    """Every run of a simulation; the reference engine runs beside the potential, in a process of its own.

    Args:
        simulation: the runs.
        calculator: the potential.
        ensemble: the same, for replicas that are evaluated together.
        reference: the engine of the labels, asked where a run says `compare`; its trajectories are kept in .nnpx/ for the next potential.
        labelled_by: level of theory of the training data. An engine of another level says nothing about the potential and is not run; one
            that finds the forces of the first test structure is taken for the right one where the data do not say.
        seed: of momenta and noise.
        start: the structure to start from where the configuration names none.
        workspace: the folder that paths in the configuration are relative to.
        file: trajectory of all runs, to look at. What they go on from after they were killed is kept apart, in .nnpx/.
        potential: checksum of the potential.
        trusted: checksum of the code that is not nnpx's.
        watch: gives for each run, by its name and time step in fs, what is told about its progress.

    Raises:
        SimulationError: if a trajectory explodes.
        DataError: if the start structure cannot be read.
        ConfigError: if a cell is to move that the start structure does not have, or atoms that it says are fixed.
    """
    folder = workspace / FOLDER
    if isinstance(simulation, Replicas):
        atoms = first_structure(workspace / simulation.structure if simulation.structure else start)
        refuse_constraints(atoms, "md.structure")
        kept = folder / f"{simulation.name}-{identity(potential, simulation, atoms, seed, trusted=trusted)}"
        progress = watch(simulation.name, simulation.timestep_fs)
        fates = follow(simulation, ensemble, atoms, seed=seed, folder=kept, frames=file, progress=progress)
        return [ReplicaStudy(simulation.name, simulation, fates)]
    runs = simulation.runs()
    named = {name: dynamics.structure or simulation.structure for name, dynamics in runs.items()}
    starts = {name: first_structure(workspace / path if path else start) for name, path in named.items()}
    for name, dynamics in runs.items():
        _check(name, dynamics, starts[name])
    asked = {name for name, dynamics in runs.items() if dynamics.compare}
    foreign = is_foreign(reference, labelled_by, start, folder) if asked else ""
    compared = {name: (runs[name], starts[name]) for name in runs if name in asked and not foreign}
    trajectories, joined = {}, Joined(file)
    with Beside(reference, compared, seed=seed, trusted=trusted, folder=folder) as beside:
        for name, dynamics in runs.items():
            atoms, progress = starts[name], watch(name, dynamics.timestep_fs)
            record = Record(folder / f"{name}-{identity(potential, dynamics, atoms, seed, trusted=trusted)}", len(atoms), joined)
            trajectories[name] = simulate(dynamics, atoms, calculator, seed=seed, name=name, record=record, progress=progress)
        answers = {name: beside.answer(name) if name in compared else foreign if name in asked else "" for name in runs}
    return [_study(name, dynamics, trajectories[name], answers[name]) for name, dynamics in runs.items()]


def _study(name: str, dynamics: Dynamics, trajectory: Trajectory, answer: Trajectory | str) -> Study:
    """With the trajectory of the reference engine, or with why there is none."""
    known, note = (answer, "") if isinstance(answer, Trajectory) else (None, answer)
    return Study(name, dynamics, trajectory, known, note)


def start_file(prepared: Path) -> Path:
    """Where a simulation starts unless told otherwise: in the test set, or in the validation set where nothing is tested."""
    test = prepared / "test.extxyz"
    return prepared / "valid.extxyz" if test.is_file() and test.stat().st_size == 0 else test


def _check(name: str, dynamics: Dynamics, start: Atoms) -> None:
    """Refuse what is not simulated, or could only fail after the equilibration."""
    refuse_constraints(start, f"md.structure ({name})")
    if dynamics.has_bath and not dynamics.degrees_of_freedom(start):
        found, do = f"{start.symbols}, whose every momentum is conserved", "Choose md=langevin, whose bath moves the whole too."
        raise ConfigError(f"md.structure ({name})", expected="a structure with vibrations for the bath", found=found, do=do)
    if dynamics.moves_cell and not start.pbc.all():
        periodic = ", ".join(axis for axis, is_periodic in zip("abc", start.pbc, strict=True) if is_periodic)
        found = f"{start.symbols}, periodic along {periodic}" if periodic else f"{start.symbols} without a cell"
        expected, do = (
            "a structure that is periodic in all directions",
            "Choose md=nose_hoover or md=langevin, or name a crystal or a liquid.",
        )
        raise ConfigError(f"md.structure ({name})", expected=expected, found=found, do=do)
