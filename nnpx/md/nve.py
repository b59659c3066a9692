"""Constant energy."""

from typing import final

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from nnpx.md import Dynamics
from nnpx.md.momenta import remove_rigid_motion
from nnpx.reference import potential_energy


@final
class NVE(Dynamics):
    """Newton's equations alone, by velocity Verlet: the total energy is conserved if the forces are the gradient of one energy.

        p ← p + F Δt/2;   r ← r + p Δt/m;   p ← p + F Δt/2          Swope et al. 1982, doi:10.1063/1.442716

    The integrator is symplectic: it follows exactly an energy that differs from the true one by O(Δt²), so the total energy fluctuates
    as Δt² and does not drift. A drift means forces that are not a gradient, a kink in the potential, or too long a time step.
    The start is equilibrated with a heat bath, where alone the friction acts; then the rigid motion is taken out, which the temperature
    accounts for.
    """

    name = "nve"
    conserved = "total energy"
    has_bath = False
    moves_cell = False

    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """Velocity Verlet, started without rigid motion."""
        remove_rigid_motion(atoms)
        return VelocityVerlet(atoms, timestep=self.timestep)

    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """V + E_kin."""
        return potential_energy(integrator.atoms) + float(integrator.atoms.get_kinetic_energy())
