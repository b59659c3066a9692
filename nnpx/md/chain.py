"""Chains of Nosé and Hoover: heat baths without noise, for the atoms and for their cell."""

from typing import Final, final

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics
from jaxtyping import Float
from scipy.special import exprel

from nnpx import units
from nnpx.md.momenta import pressure
from nnpx.reference import potential_energy

#: weights of three steps that make one of the fourth order (Yoshida 1990, doi:10.1016/0375-9601(90)90092-3)
_WEIGHT: Final = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_WEIGHTS: Final = (_WEIGHT, 1.0 - 2.0 * _WEIGHT, _WEIGHT)


def follow_chain(
    chain: Float[np.ndarray, "2 link"],
    masses: Float[np.ndarray, " link"],
    twice_kinetic: float,
    *,
    heat: float,
    thermal: float,
    time: float,
) -> float:
    """Move a chain for a time, and return the factor by which it scales the momenta that it thermostats.

        Q₁ η̈₁ = Σp²/m − f kT − coupling to the next link;   Q_k η̈_k = Q_{k−1} η̇²_{k−1} − kT − coupling to the next link

    Args:
        chain: η and their momenta, in two rows; changed in place.
        masses: Q, eV × (Å √(amu/eV))².
        twice_kinetic: Σp²/m of what is thermostatted, eV.
        heat: f kT, its mean in the canonical ensemble, eV.
        thermal: kT of the bath, eV.
        time: in Å √(amu/eV).
    """
    scale, last = 1.0, len(masses) - 1

    def push(k: int, step: float) -> None:
        """Half a step of the momentum of one link, the coupling to the next one split around it."""
        drag = np.exp(-0.25 * step * chain[1, k + 1] / masses[k + 1]) if k < last else 1.0
        force = scale**2 * twice_kinetic - heat if k == 0 else chain[1, k - 1] ** 2 / masses[k - 1] - thermal
        chain[1, k] = (chain[1, k] * drag + 0.5 * step * force) * drag

    for weight in _WEIGHTS:
        step = weight * time
        for k in range(last, -1, -1):
            push(k, step)
        chain[0] += step * chain[1] / masses
        scale *= float(np.exp(-step * chain[1, 0] / masses[0]))
        for k in range(last + 1):
            push(k, step)
    return scale


def chain_energy(chain: Float[np.ndarray, "2 link"], masses: Float[np.ndarray, " link"], *, heat: float, thermal: float) -> float:
    """Σ p_η²/2Q + f kT η₁ + kT Σ_{k>1} η_k, eV: what the bath holds."""
    return float((0.5 * chain[1] ** 2 / masses).sum() + heat * chain[0, 0] + thermal * chain[0, 1:].sum())


@final
class NoseHooverChain(MolecularDynamics):  # type: ignore[misc]  # ASE is not typed
    """Newton's equations in contact with a chain.

    Half a step of the chain, a step of velocity Verlet, half a step of the chain (Martyna et al. 1996, doi:10.1080/00268979600100761).

    Args:
        atoms: what moves, without rigid motion, which the chain leaves as it is.
        timestep: Δt, Å √(amu/eV).
        temperature_K: of the bath.
        freedom: f, of the momenta that are not conserved.
        period: of the bath, Å √(amu/eV).
        links: of the chain.
    """

    def __init__(self, atoms: Atoms, *, timestep: float, temperature_K: float, freedom: int, period: float, links: int) -> None:
        super().__init__(atoms, timestep)
        self.thermal = temperature_K * units.K
        self.heat = freedom * self.thermal
        self.chain = np.zeros((2, links))
        self.chain_masses = period**2 * np.array([self.heat, *[self.thermal] * (links - 1)])

    def step(self) -> None:
        """One step of all."""
        atoms, half = self.atoms, 0.5 * self.dt
        momenta = self._bathed(atoms.get_momenta(), half) + half * atoms.get_forces()
        atoms.set_positions(atoms.positions + self.dt * momenta / self.masses)
        momenta += half * atoms.get_forces()
        atoms.set_momenta(self._bathed(momenta, half))

    def conserved_energy(self) -> float:
        """V + E_kin + what the bath holds, eV."""
        bath = chain_energy(self.chain, self.chain_masses, heat=self.heat, thermal=self.thermal)
        return potential_energy(self.atoms) + float(self.atoms.get_kinetic_energy()) + bath

    def _bathed(self, momenta: Float[np.ndarray, "atom 3"], time: float) -> Float[np.ndarray, "atom 3"]:
        twice_kinetic = float((momenta**2 / self.masses).sum())
        return momenta * follow_chain(self.chain, self.chain_masses, twice_kinetic, heat=self.heat, thermal=self.thermal, time=time)


@final
class IsotropicMTK(MolecularDynamics):  # type: ignore[misc]  # ASE is not typed
    """Atoms and the logarithm of the size of their cell, each with a chain (Martyna, Tobias and Klein 1994, doi:10.1063/1.467468).

        ṙ = p/m + (p_ε/W) r;   ṗ = F − (1 + 3/f)(p_ε/W) p;   ε̇ = p_ε/W;   ṗ_ε = 3V(P − P₀) + (3/f) Σp²/m;   cell = cell₀ exp(ε)

    and a friction of the chains on p and p_ε. The order of the steps is that of Tuckerman et al. 2006 (doi:10.1088/0305-4470/39/19/S18).

    Args:
        atoms: what moves, periodic in three directions, without a momentum of the whole.
        timestep: Δt, Å √(amu/eV).
        temperature_K: of the bath.
        pressure: P₀, eV/Å³.
        freedom: f, of the momenta that are not conserved.
        period: of the bath of the atoms, Å √(amu/eV).
        cell_period: of the cell and its bath, Å √(amu/eV).
        links: of both chains.
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        timestep: float,
        temperature_K: float,
        pressure: float,
        freedom: int,
        period: float,
        cell_period: float,
        links: int,
    ) -> None:
        super().__init__(atoms, timestep)
        self.thermal = temperature_K * units.K
        self.heat, self.target, self.freedom = freedom * self.thermal, pressure, float(freedom)
        self.chain, self.cell_chain = np.zeros((2, links)), np.zeros((2, links))
        self.chain_masses = period**2 * np.array([self.heat, *[self.thermal] * (links - 1)])
        self.cell_chain_masses = cell_period**2 * self.thermal * np.ones(links)
        self.cell_mass = (freedom + 3) * self.thermal * cell_period**2
        self.start, self.size, self.cell_momentum = atoms.cell.array.copy(), 0.0, 0.0

    def step(self) -> None:
        """One step of all."""
        half = 0.5 * self.dt
        self._bathe(half)
        self._push_cell(half)
        self._push(half)
        self._move(self.dt)
        self._push(half)
        self._push_cell(half)
        self._bathe(half)

    def conserved_energy(self) -> float:
        """V + E_kin + P₀V + p_ε²/2W + what the baths hold, eV."""
        atoms = self.atoms
        of_cell = 0.5 * self.cell_momentum**2 / self.cell_mass + self.target * float(atoms.get_volume())
        baths = chain_energy(self.chain, self.chain_masses, heat=self.heat, thermal=self.thermal)
        baths += chain_energy(self.cell_chain, self.cell_chain_masses, heat=self.thermal, thermal=self.thermal)
        return potential_energy(atoms) + float(atoms.get_kinetic_energy()) + of_cell + baths

    def _bathe(self, time: float) -> None:
        twice = 2.0 * float(self.atoms.get_kinetic_energy())
        scale = follow_chain(self.chain, self.chain_masses, twice, heat=self.heat, thermal=self.thermal, time=time)
        self.atoms.set_momenta(scale * self.atoms.get_momenta())
        twice = self.cell_momentum**2 / self.cell_mass
        self.cell_momentum *= follow_chain(
            self.cell_chain, self.cell_chain_masses, twice, heat=self.thermal, thermal=self.thermal, time=time
        )

    def _push_cell(self, time: float) -> None:
        work = 3.0 * float(self.atoms.get_volume()) * (pressure(self.atoms) - self.target)
        self.cell_momentum += time * (work + 6.0 / self.freedom * float(self.atoms.get_kinetic_energy()))

    def _push(self, time: float) -> None:
        x = (1.0 + 3.0 / self.freedom) * time * self.cell_momentum / self.cell_mass
        self.atoms.set_momenta(self.atoms.get_momenta() * np.exp(-x) + time * self.atoms.get_forces() * exprel(-x))

    def _move(self, time: float) -> None:
        x = time * self.cell_momentum / self.cell_mass
        positions = self.atoms.positions * np.exp(x) + time * self.atoms.get_momenta() / self.masses * exprel(x)
        self.size += x
        self.atoms.set_cell(self.start * np.exp(self.size), scale_atoms=False)
        self.atoms.set_positions(positions)
