"""Walkers that move together: Langevin dynamics of many structures with one evaluation of the potential per step."""

from collections.abc import Sequence
from typing import final

import numpy as np
from ase import Atoms
from jaxtyping import Float

from nnpx import units
from nnpx.ensemble import Ensemble
from nnpx.errors import GeometryError
from nnpx.graph import AtomicGraph, join
from nnpx.neighbors import graph_from_atoms


@final
class Herd:
    """Structures with momenta, each with its own temperature and random numbers, none knowing of the others.

        p ← p + F Δt/2,  r ← r + p Δt/2m,  p ← c p + √((1 − c²) m k T) ξ,  r ← r + p Δt/2m,  p ← p + F Δt/2,   c = exp(−γ Δt)

    BAOAB, Leimkuhler and Matthews 2013, doi:10.1063/1.4802990. What one walker does depends on its own state and generator alone, not on
    who else is on the way.

    Args:
        ensemble: the potential.
        walkers: structures with momenta; they are moved in place.
        temperatures_K: of each walker's bath.
        generators: of each walker's noise.
        timestep_fs: Δt.
        friction_per_fs: γ.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        walkers: Sequence[Atoms],
        *,
        temperatures_K: Sequence[float],
        generators: Sequence[np.random.Generator],
        timestep_fs: float,
        friction_per_fs: float,
    ) -> None:
        self._ensemble, self.walkers, self._generators = ensemble, list(walkers), list(generators)
        self._timestep, self._memory = timestep_fs * units.fs, float(np.exp(-friction_per_fs * timestep_fs))
        self._widths = [
            np.sqrt((1 - self._memory**2) * atoms.get_masses() * kelvin * units.K)[:, None]
            for atoms, kelvin in zip(walkers, temperatures_K, strict=True)
        ]
        self._forces: dict[int, Float[np.ndarray, "atom 3"]] = {}

    def advance(self, moving: Sequence[int], n_steps: int) -> list[int]:
        """Move some walkers by some steps; returns those that the potential could follow to the end."""
        alive = self._evaluated([k for k in moving if k not in self._forces])
        alive = [k for k in moving if k in self._forces or k in alive]
        for _ in range(n_steps):
            for k in alive:
                self._move(k)
            alive = self._evaluated(alive)
            for k in alive:
                self._kick(k)
        return alive

    def graph(self, chosen: Sequence[int]) -> AtomicGraph:
        """Some walkers as they are now, as one graph."""
        return join([self._graph(k) for k in chosen])

    def set_back(self, walker: int, positions: Float[np.ndarray, "atom 3"], momenta: Float[np.ndarray, "atom 3"]) -> None:
        """Put a walker somewhere else."""
        self.walkers[walker].positions, self._forces = positions, {k: own for k, own in self._forces.items() if k != walker}
        self.walkers[walker].set_momenta(momenta)

    def _move(self, k: int) -> None:
        atoms, half = self.walkers[k], 0.5 * self._timestep
        masses = atoms.get_masses()[:, None]
        momenta = atoms.get_momenta() + half * self._forces[k]
        positions = atoms.positions + half * momenta / masses
        momenta = self._memory * momenta + self._widths[k] * self._generators[k].standard_normal(momenta.shape)
        atoms.positions = positions + half * momenta / masses
        atoms.set_momenta(momenta)

    def _kick(self, k: int) -> None:
        atoms = self.walkers[k]
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self._timestep * self._forces[k])

    def _evaluated(self, chosen: Sequence[int]) -> list[int]:
        """New forces; those whose geometry the potential accepts, and whose forces are finite."""
        graphs = {}
        for k in chosen:
            self._forces.pop(k, None)
            try:
                graphs[k] = self._graph(k)
            except GeometryError:
                continue
        if not graphs:
            return []
        forces = self._ensemble(join(list(graphs.values())), spread=False).forces.double().numpy()
        start = 0
        for k in graphs:
            own = forces[start : start + len(self.walkers[k])]
            start += len(own)
            if np.isfinite(own).all():
                self._forces[k] = own
        return [k for k in chosen if k in self._forces]

    def _graph(self, k: int) -> AtomicGraph:
        atoms = self.walkers[k]
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        numbers, cutoff = self._ensemble.numbers, self._ensemble.cutoff_radius
        return graph_from_atoms(bare, numbers=numbers, cutoff=cutoff, where=f"walker {k}").cast(self._ensemble.dtype)
