"""Momenta: drawn from Maxwell and Boltzmann, freed from rigid motion, read as a temperature."""

from typing import Final

import numpy as np
from ase import Atoms
from ase.md.velocitydistribution import Stationary
from jaxtyping import Float

from nnpx import units

#: a moment of inertia of less than this × the largest is that of no extent at all
THINNEST: Final = 1e-10


def draw_momenta(atoms: Atoms, temperature_K: float, random: np.random.Generator) -> None:
    """Set p ~ exp(−p²/2mkT): each component is √(m k T) times a standard normal number."""
    width = np.sqrt(atoms.get_masses() * temperature_K * units.K)
    atoms.set_momenta(width[:, None] * random.standard_normal((len(atoms), 3)))


def remove_rigid_motion(atoms: Atoms) -> None:
    """Take out what Newton's equations conserve: the total momentum and, without a cell, the angular momentum.

    The other degrees of freedom keep their energy: scaling back to the temperature before, as ASE does unless told otherwise, would
    heat a molecule of nine atoms by 27/21.
    """
    Stationary(atoms, preserve_temperature=False)
    if not atoms.pbc.any():
        _remove_rotation(atoms)


def _remove_rotation(atoms: Atoms) -> None:
    """V ← v − ω × r."""
    masses, arms = atoms.get_masses(), atoms.positions - atoms.get_center_of_mass()
    turning = np.cross(angular_velocity(arms, atoms.get_momenta(), masses, thinnest=THINNEST), arms)
    atoms.set_momenta(atoms.get_momenta() - masses[:, None] * turning)


def angular_velocity(
    arms: Float[np.ndarray, "*sample atom 3"],
    momenta: Float[np.ndarray, "*sample atom 3"],
    masses: Float[np.ndarray, " atom"],
    *,
    thinnest: float,
) -> Float[np.ndarray, "*sample 3"]:
    """ω = I⁻¹ L, with a pseudo-inverse that leaves the axis of a linear molecule alone.

    Args:
        arms: from the centre of mass, Å.
        momenta: of the atoms.
        masses: of the atoms, amu.
        thinnest: no rotation about an axis whose moment of inertia is less than this × the largest.
    """
    gyration = np.einsum("a,...ai,...aj->...ij", masses, arms, arms)
    inertia = np.trace(gyration, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - gyration
    turning = np.cross(arms, momenta).sum(-2)
    return np.asarray(np.linalg.pinv(inertia, rcond=thinnest) @ turning[..., None])[..., 0]


def internal_degrees_of_freedom(atoms: Atoms) -> int:
    """3N without what Newton's equations conserve: 3 of the total momentum, 2 or 3 of the rotation of a molecule."""
    if len(atoms) == 1:
        return 0
    if atoms.pbc.any():
        return 3 * len(atoms) - 3
    arms = atoms.positions - atoms.get_center_of_mass()
    extent = np.linalg.svd(arms, compute_uv=False)
    is_linear = extent[1] < 1e-6 * extent[0]
    return 3 * len(atoms) - (5 if is_linear else 6)


def temperature_K(kinetic_energy: float, degrees_of_freedom: int) -> float:
    """T = 2 E_kin / (f k) in K; NaN where nothing can move."""
    return 2.0 * kinetic_energy / (degrees_of_freedom * units.K) if degrees_of_freedom else float("nan")


def pressure(atoms: Atoms) -> float:
    """P = 2 E_kin/3V − tr σ/3 in eV/Å³, with σ the stress of the potential."""
    trace = float(atoms.get_stress(voigt=False).trace())
    return 2.0 * float(atoms.get_kinetic_energy()) / (3.0 * float(atoms.get_volume())) - trace / 3.0
