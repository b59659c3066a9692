"""What dynamics with chains of Nosé and Hoover have in common."""

from abc import abstractmethod
from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.md.md import MolecularDynamics

from nnpx.md import Dynamics
from nnpx.md.momenta import remove_rigid_motion
from nnpx.md.watchdog import Watchdog


class Chained(Dynamics):
    """Sampled with a chain, and equilibrated with friction and noise, which act there alone.

    Args:
        engine, structure, timestep_fs, temperature_K, friction_per_fs, equilibration_ps, duration_ps, sample_every_fs, bond_factor,
            compare, watchdog: see `Dynamics`.
        thermostat_fs: period of the bath of the atoms; a hundred time steps disturb the dynamics little.
        chain_length: friction variables, each thermostatted by the next.
    """

    has_bath = True

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

    @abstractmethod
    def equations(self, atoms: Atoms) -> MolecularDynamics:
        """The integrator of atoms without rigid motion, which also knows its `conserved_energy`."""

    @final
    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """`equations`, started without rigid motion."""
        remove_rigid_motion(atoms)
        return self.equations(atoms)

    @final
    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """With what the chains hold."""
        return float(integrator.conserved_energy())
