"""The heat bath of `langevin`, and of every equilibration."""

import numpy as np
from ase import Atoms
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics

from nnpx import units


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
