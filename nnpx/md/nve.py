"""Constant energy."""

from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from nnpx.md import Dynamics
from nnpx.md.langevin import baoab
from nnpx.md.momenta import internal_degrees_of_freedom, remove_rigid_motion
from nnpx.md.watchdog import Watchdog


@final
class NVE(Dynamics):
    """Newton's equations alone, by velocity Verlet: the total energy is conserved if the forces are the gradient of one energy.

        p ← p + F Δt/2;   r ← r + p Δt/m;   p ← p + F Δt/2          Swope et al. 1982, doi:10.1063/1.442716

    The integrator is symplectic: it follows exactly an energy that differs from the true one by O(Δt²), so the total energy fluctuates
    as Δt² and does not drift. A drift means forces that are not a gradient, a kink in the potential, or too long a time step.
    The start is equilibrated with a heat bath; then the rigid motion is taken out, which the temperature accounts for.

    Args:
        engine, structure, timestep_fs, temperature_K, friction_per_fs, equilibration_ps, duration_ps, sample_every_fs, bond_factor,
            compare, watchdog: see `Dynamics`; the friction acts during the equilibration only.
    """

    name = "nve"
    conserved = "total energy"
    has_bath = False
    moves_cell = False

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
        super().__init__(
            engine=engine,
            structure=structure,
            timestep_fs=timestep_fs,
            temperature_K=temperature_K,
            friction_per_fs=friction_per_fs,
            equilibration_ps=equilibration_ps,
            duration_ps=duration_ps,
            sample_every_fs=sample_every_fs,
            bond_factor=bond_factor,
            compare=compare,
            watchdog=watchdog,
        )

    def thermostat(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """Langevin dynamics at the same time step."""
        return baoab(atoms, self.timestep, self.temperature_K, self.friction_per_fs, random)

    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """Velocity Verlet, started without rigid motion."""
        remove_rigid_motion(atoms)
        return VelocityVerlet(atoms, timestep=self.timestep)

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """3N − 6 for a molecule, 3N − 3 in a cell."""
        return internal_degrees_of_freedom(atoms)

    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """V + E_kin."""
        return float(integrator.atoms.get_potential_energy() + integrator.atoms.get_kinetic_energy())
