"""Molecular dynamics: Newton's equations on a potential, and what is watched along the way.

    m r̈ = −∂V/∂r                          alone (`nve`), or coupled to a heat bath at temperature T (`langevin`)

The contract. An option is a `Simulation`: one or more named `Dynamics`, each with a time step, a length and bounds beyond which it stops.
A new ensemble is a subclass of `Dynamics` that writes two methods: `integrator` (one step of the equations of motion, as ASE has them)
and `conserved_energy`; and `degrees_of_freedom` where a bath changes momenta that Newton's equations conserve. Whatever an integrator
remembers from step to step is a number or an array among its attributes, or the random generator, so that a run that was killed goes on
from a file as if nothing had happened. Whatever it is, it must show

- without a heat bath, a total energy that does not drift, and whose fluctuation falls as the square of the time step;
- with a heat bath, ⟨T⟩ equal to the target within its statistical error, and canonical fluctuations;
- the same trajectory for the same seed, to the last bit, killed and taken up again or not;
- a `SimulationError` naming the step, the atoms and their distance as soon as the trajectory leaves physics, with everything computed
  so far already on disk.

Momenta, coordinates and energies are float64; eV, Å and amu inside, fs, ps and K at the door.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.md.md import MolecularDynamics

from nnpx import units
from nnpx.md.baoab import baoab
from nnpx.md.momenta import internal_degrees_of_freedom
from nnpx.md.watchdog import Watchdog


class Simulation(ABC):
    """What the `simulate` stage does: named trajectories, one after the other.

    Attributes:
        structure: file whose first structure is the start; None for the first structure of the test set.
    """

    structure: str | None

    @abstractmethod
    def runs(self) -> dict[str, "Dynamics"]:
        """The trajectories by name, in order."""


class Dynamics(Simulation):
    """One trajectory: equilibration with a heat bath, then production, sampled at equal times.

    Args:
        engine: what moves the atoms; `ase` runs in this process.
        structure: file whose first structure is the start; None leaves the choice to the caller.
        timestep_fs: Δt. 0.5 with hydrogen, 2 for heavy elements.
        temperature_K: of the initial momenta and of the heat bath.
        friction_per_fs: γ of the heat bath. 0.01 equilibrates a molecule within a picosecond.
        equilibration_ps: time with a heat bath that is not sampled.
        duration_ps: time that is sampled.
        sample_every_fs: time between samples; rounded to whole steps.
        bond_factor: atoms are bonded when closer in the start structure than this × the sum of their covalent radii.
        compare: whether the reference engine runs the same dynamics, so that distributions can be compared.
        watchdog: the bounds beyond which the simulation stops.
    """

    name: str  #: what the trajectory is called in tables and files
    conserved: str  #: what the equations of motion conserve, in words; empty where noise conserves nothing
    has_bath: bool  #: whether the sampled kinetic energies are canonical
    moves_cell: bool  #: whether the cell is a variable, which only a structure that is periodic in all directions has

    def __init__(
        self,
        *,
        engine: Literal["ase"],
        structure: str | None,
        timestep_fs: Annotated[float, Gt(0)],
        temperature_K: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Gt(0)],
        equilibration_ps: Annotated[float, Ge(0)],
        duration_ps: Annotated[float, Gt(0)],
        sample_every_fs: Annotated[float, Gt(0)],
        bond_factor: Annotated[float, Gt(0)],
        compare: bool,
        watchdog: Watchdog,
    ) -> None:
        self.engine = engine
        self.structure = structure
        self.timestep_fs = timestep_fs
        self.temperature_K = temperature_K
        self.friction_per_fs = friction_per_fs
        self.bond_factor = bond_factor
        self.compare = compare
        self.watchdog = watchdog
        self.timestep = timestep_fs * units.fs
        self.equilibration_steps = round(1000.0 * equilibration_ps / timestep_fs)
        self.steps = max(1, round(1000.0 * duration_ps / timestep_fs))
        self.stride = max(1, round(sample_every_fs / timestep_fs))

    @final
    def runs(self) -> dict[str, "Dynamics"]:
        """This trajectory alone."""
        return {self.name: self}

    @final
    def thermostat(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """The integrator that equilibrates: Langevin dynamics at the same time step, in the cell of the start."""
        return baoab(atoms, self.timestep, self.temperature_K, self.friction_per_fs, random)

    @abstractmethod
    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """The integrator that is sampled. May change the momenta of `atoms` once, for instance to take a rigid rotation out."""

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """How many momenta are not conserved: f in T = 2 E_kin / (f k); 3N − 6 for a molecule, 3N − 3 in a cell."""
        return internal_degrees_of_freedom(atoms)

    @abstractmethod
    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """What `integrator` conserves, eV; NaN where noise conserves nothing."""
