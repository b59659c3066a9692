"""Constant temperature without noise."""

from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.md.md import MolecularDynamics

from nnpx import units
from nnpx.md import Dynamics
from nnpx.md.chain import NoseHooverChain
from nnpx.md.langevin import baoab
from nnpx.md.momenta import internal_degrees_of_freedom, remove_rigid_motion
from nnpx.md.watchdog import Watchdog


@final
class NoseHoover(Dynamics):
    """Contact with a heat bath by a friction that is a variable of its own, and that of a chain of further ones.

        ṗ = F − (p_η/Q) p;   ṗ_η = Σp²/m − f kT          Martyna, Klein and Tuckerman 1992, doi:10.1063/1.463940

    Deterministic and smooth, so that correlations in time are disturbed less than by noise, and with a conserved energy that shows too
    long a time step. Scaling momenta leaves a rigid motion what it is: with f = 3N, as ASE has it, a molecule of nine atoms that does not
    rotate would be kept 27/21 times too hot. Here the rigid motion is taken out, and f counts the momenta that remain.
    Few and nearly harmonic vibrations exchange their energy slowly; the canonical test of the report says whether the chain sufficed.

    Args:
        engine, structure, timestep_fs, temperature_K, friction_per_fs, equilibration_ps, duration_ps, sample_every_fs, bond_factor,
            compare, watchdog: see `Dynamics`; the friction acts during the equilibration only.
        thermostat_fs: period of the bath; a hundred time steps disturb the dynamics little.
        chain_length: friction variables, each thermostatted by the next.
    """

    name = "nose_hoover"
    conserved = "energy with that of the heat bath"
    has_bath = True
    moves_cell = False

    def __init__(
        self,
        *,
        engine: Literal["ase"],
        structure: str | None,
        timestep_fs: Annotated[float, Gt(0)],
        temperature_K: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Gt(0)],
        thermostat_fs: Annotated[float, Gt(0)],
        chain_length: Annotated[int, Ge(1)],
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
        self.thermostat_fs, self.chain_length = thermostat_fs, chain_length

    def thermostat(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """Langevin dynamics at the same time step."""
        return baoab(atoms, self.timestep, self.temperature_K, self.friction_per_fs, random)

    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """Velocity Verlet between two halves of the chain, started without rigid motion."""
        remove_rigid_motion(atoms)
        return NoseHooverChain(
            atoms,
            timestep=self.timestep,
            temperature_K=self.temperature_K,
            freedom=self.degrees_of_freedom(atoms),
            period=self.thermostat_fs * units.fs,
            links=self.chain_length,
        )

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """3N − 6 for a molecule, 3N − 3 in a cell."""
        return internal_degrees_of_freedom(atoms)

    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """V + E_kin + what the chain holds."""
        return float(integrator.conserved_energy())
