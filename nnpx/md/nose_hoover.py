"""Constant temperature without noise."""

from typing import final

from ase import Atoms
from ase.md.md import MolecularDynamics

from nnpx import units
from nnpx.md.chain import NoseHooverChain
from nnpx.md.chained import Chained


@final
class NoseHoover(Chained):
    """Contact with a heat bath by a friction that is a variable of its own, and that of a chain of further ones.

        ṗ = F − (p_η/Q) p;   ṗ_η = Σp²/m − f kT          Martyna, Klein and Tuckerman 1992, doi:10.1063/1.463940

    Deterministic and smooth, so that correlations in time are disturbed less than by noise, and with a conserved energy that shows too
    long a time step. Scaling momenta leaves a rigid motion what it is: with f = 3N, as ASE has it, a molecule of nine atoms that does not
    rotate would be kept 27/21 times too hot. Here the rigid motion is taken out, and f counts the momenta that remain.
    Few and nearly harmonic vibrations exchange their energy slowly; the canonical test of the report says whether the chain sufficed.
    """

    name = "nose_hoover"
    conserved = "energy with that of the heat bath"
    moves_cell = False

    def equations(self, atoms: Atoms) -> MolecularDynamics:
        """Velocity Verlet between two halves of the chain."""
        return NoseHooverChain(
            atoms,
            timestep=self.timestep,
            temperature_K=self.temperature_K,
            freedom=self.degrees_of_freedom(atoms),
            period=self.thermostat_fs * units.fs,
            links=self.chain_length,
        )
