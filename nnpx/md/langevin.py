"""Constant temperature."""

from typing import final

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from nnpx.md import Dynamics
from nnpx.md.baoab import baoab


@final
class Langevin(Dynamics):
    """Contact with a heat bath by friction and noise, split as half kick, half drift, bath, half drift, half kick (BAOAB).

        p ← c p + √((1 − c²) m k T) ξ,   c = exp(−γ Δt)             Leimkuhler and Matthews 2013, doi:10.1063/1.4802990

    Of the splittings of its order this one has the smallest error in the sampled *positions*, hence in bond lengths and angles.
    All 3N momenta are coupled to the bath, so the molecule as a whole diffuses and rotates. γ = 0.01/fs samples well, 0.001/fs barely
    disturbs the dynamics.
    """

    name = "langevin"
    conserved = ""
    has_bath = True
    moves_cell = False

    def integrator(self, atoms: Atoms, random: np.random.Generator) -> MolecularDynamics:
        """BAOAB."""
        return baoab(atoms, self.timestep, self.temperature_K, self.friction_per_fs, random)

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """3N: the bath changes every momentum."""
        return 3 * len(atoms)

    def conserved_energy(self, integrator: MolecularDynamics) -> float:
        """Nothing."""
        return float("nan")
