"""Constant temperature."""

from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics

from nnpx import units
from nnpx.md import Dynamics
from nnpx.md.watchdog import Watchdog


@final
class Langevin(Dynamics):
    """Contact with a heat bath by friction and noise, split as half kick, half drift, bath, half drift, half kick (BAOAB).

        p ← c p + √((1 − c²) m k T) ξ,   c = exp(−γ Δt)             Leimkuhler and Matthews 2013, doi:10.1063/1.4802990

    Of the splittings of its order this one has the smallest error in the sampled *positions*, hence in bond lengths and angles.
    All 3N momenta are coupled to the bath, so the molecule as a whole diffuses and rotates.

    Args:
        engine, structure, timestep_fs, temperature_K, friction_per_fs, equilibration_ps, duration_ps, sample_every_fs, bond_factor,
            compare, watchdog: see `Dynamics`. γ = 0.01/fs samples well, 0.001/fs barely disturbs the dynamics.
    """

    name = "langevin"
    conserved = ""
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
        """The same heat bath as in production."""
        return baoab(atoms, self.timestep, self.temperature_K, self.friction_per_fs, random)

    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """BAOAB."""
        return baoab(atoms, self.timestep, self.temperature_K, self.friction_per_fs, random)

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """3N: the bath changes every momentum."""
        return 3 * len(atoms)

    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """Nothing."""
        return float("nan")


def baoab(atoms: Atoms, timestep: float, temperature_K: float, friction_per_fs: float, random: np.random.Generator) -> MolecularDynamics:
    """ASE's BAOAB at constant volume; `timestep` in Å √(amu/eV)."""
    # `hydrostatic` has no other effect without an external stress than to replace a matrix exponential in every step by a scalar one.
    return LangevinBAOAB(
        atoms,
        timestep=timestep,
        temperature_K=temperature_K,
        T_tau=units.fs / friction_per_fs,
        hydrostatic=True,
        rng=random,
    )
