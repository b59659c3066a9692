"""Constant temperature and pressure."""

from typing import Annotated, Literal, final

from annotated_types import Ge, Gt
from ase import Atoms
from ase.md.md import MolecularDynamics

from nnpx import units
from nnpx.md.chain import IsotropicMTK
from nnpx.md.chained import Chained
from nnpx.md.watchdog import Watchdog


@final
class NPT(Chained):
    """A cell that breathes under a pressure and keeps its shape, with chains of Nosé and Hoover for the atoms and for the cell.

        ε̇ = p_ε/W;   ṗ_ε = 3V(P − P₀) + (3/f) Σp²/m          Martyna, Tobias and Klein 1994, doi:10.1063/1.467468

    ⟨P⟩ is P₀ if the stress of the potential is the derivative of its energy. Needs a structure that is periodic in all directions.
    The equilibration acts on the atoms alone; where the volume is far from its mean, let the first samples pass.
    As in `nnpx.md.nose_hoover` the momentum of the whole is taken out, and f = 3N − 3 counts what remains. Both chains have
    one length.

    Args:
        engine, structure, timestep_fs, temperature_K, friction_per_fs, thermostat_fs, chain_length, equilibration_ps, duration_ps,
            sample_every_fs, bond_factor, compare, watchdog: see `Chained`.
        pressure_GPa: P₀.
        barostat_fs: period of the cell, a thousand time steps: slower than the vibrations.
    """

    name = "npt"
    conserved = "enthalpy with the energy of heat baths and cell"
    moves_cell = True

    def __init__(
        self,
        *,
        engine: Literal["ase"],
        structure: str | None,
        timestep_fs: Annotated[float, Gt(0)],
        temperature_K: Annotated[float, Gt(0)],
        pressure_GPa: float,
        friction_per_fs: Annotated[float, Gt(0)],
        thermostat_fs: Annotated[float, Gt(0)],
        barostat_fs: Annotated[float, Gt(0)],
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
            thermostat_fs=thermostat_fs,
            chain_length=chain_length,
            equilibration_ps=equilibration_ps,
            duration_ps=duration_ps,
            sample_every_fs=sample_every_fs,
            bond_factor=bond_factor,
            compare=compare,
            watchdog=watchdog,
        )
        self.pressure_GPa, self.barostat_fs = pressure_GPa, barostat_fs

    def equations(self, atoms: Atoms) -> MolecularDynamics:
        """Martyna, Tobias and Klein's."""
        return IsotropicMTK(
            atoms,
            timestep=self.timestep,
            temperature_K=self.temperature_K,
            pressure=self.pressure_GPa * units.GPa,
            freedom=self.degrees_of_freedom(atoms),
            period=self.thermostat_fs * units.fs,
            cell_period=self.barostat_fs * units.fs,
            links=self.chain_length,
        )
