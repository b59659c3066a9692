"""The bounds beyond which a trajectory means nothing."""

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from annotated_types import Gt
from ase import Atoms
from jaxtyping import Float

from nnpx.errors import SimulationError
from nnpx.md.bonds import Bonds, find_bonds
from nnpx.md.momenta import temperature_K
from nnpx.neighbor_search import pairs_within


@final
class Watchdog:
    """Bounds on distances, forces and temperature. A potential asked about structures unlike its training data usually breaks one.

    Args:
        min_distance: no two atoms come closer, Å.
        max_bond_change: no bond of the start structure gets longer by more, Å; None where bonds may break.
            0.5 Å is the stability criterion of Fu et al. 2023 (doi:10.48550/arXiv.2210.07237).
        max_isolation: no atom is farther from its nearest neighbour, Å; None for gases.
        max_force: no force on an atom is larger, eV/Å.
        max_temperature_ratio: the temperature at one instant, in units of the target; a few atoms fluctuate strongly, so not below 5.
    """

    def __init__(
        self,
        *,
        min_distance: Annotated[float, Gt(0)],
        max_bond_change: Annotated[float, Gt(0)] | None,
        max_isolation: Annotated[float, Gt(0)] | None,
        max_force: Annotated[float, Gt(0)],
        max_temperature_ratio: Annotated[float, Gt(1)],
    ) -> None:
        self.min_distance = min_distance
        self.max_bond_change = max_bond_change
        self.max_isolation = max_isolation
        self.max_force = max_force
        self.max_temperature_ratio = max_temperature_ratio

    def guard(
        self, atoms: Atoms, *, bond_factor: float, target_K: float, timestep_fs: float, name: str, equilibration_steps: int = 0
    ) -> "Guard":
        """The bounds applied to the trajectory `name` that starts at `atoms`, whose first steps are not sampled."""
        clock = _Clock(timestep_fs, equilibration_steps)
        return Guard(self, atoms, bonds=find_bonds(atoms, bond_factor), target_K=target_K, clock=clock, name=name)


@dataclass(frozen=True)
class _Clock:
    timestep_fs: float
    equilibration_steps: int

    def reads(self, step: int) -> str:
        """Time counts from the end of the equilibration, as in every file."""
        phase = "equilibration, step" if step < self.equilibration_steps else "step"
        since = step if step < self.equilibration_steps else step - self.equilibration_steps
        return f"{phase} {since} ({since * self.timestep_fs / 1000:.4f} ps)"


@final
class Guard:
    """A watchdog that knows one trajectory: its bonds at the start, its target temperature, its clock.

    Every method raises a `SimulationError` that names step, atoms, elements and distances.
    """

    def __init__(self, bounds: Watchdog, atoms: Atoms, *, bonds: Bonds, target_K: float, clock: _Clock, name: str) -> None:
        self._bounds, self._bonds, self._name = bounds, bonds, name
        self._target_K, self._clock = target_K, clock
        self._lengths = bonds.lengths(atoms.positions, atoms.cell.array)

    def forces(self, step: int, atoms: Atoms, forces: Float[np.ndarray, "atom 3"]) -> None:
        """After every step: forces are finite and below the bound."""
        size = np.linalg.norm(forces, axis=1)
        if np.isfinite(size).all() and size.max() <= self._bounds.max_force:
            return
        worst = int(np.argmax(np.where(np.isfinite(size), size, np.inf)))
        self._stop(
            step,
            "max_force",
            f"forces below {self._bounds.max_force:g} eV/Å",
            f"{size[worst]:.4g} eV/Å on {_atom(atoms, worst)}, whose nearest neighbours are {_surroundings(atoms, worst)}",
        )

    def geometry(self, step: int, atoms: Atoms) -> None:
        """At every sample: no pair too close, no bond torn, no atom alone."""
        bounds = self._bounds
        reach = max(bounds.min_distance, bounds.max_isolation or 0.0)
        i, j, _, distance = pairs_within(atoms, reach)
        if len(distance) and distance.min() < bounds.min_distance:
            pair = int(np.argmin(distance))
            found = f"{_atom(atoms, int(i[pair]))} and {_atom(atoms, int(j[pair]))} at {distance[pair]:.3f} Å"
            self._stop(step, "min_distance", f"no two atoms closer than {bounds.min_distance:g} Å", found)
        if bounds.max_bond_change is not None and len(self._lengths):
            self._bond_lengths(step, atoms, bounds.max_bond_change)
        if bounds.max_isolation is not None and len(atoms) > 1:
            alone = np.setdiff1d(np.arange(len(atoms)), i)
            if len(alone):
                one = int(alone[0])
                found = f"{_atom(atoms, one)} alone; its nearest neighbours are {_surroundings(atoms, one)}"
                self._stop(step, "max_isolation", f"every atom within {bounds.max_isolation:g} Å of another", found)

    def temperature(self, step: int, atoms: Atoms, degrees_of_freedom: int) -> None:
        """At every sample: the temperature has not run away."""
        now = temperature_K(atoms.get_kinetic_energy(), degrees_of_freedom)
        limit = self._bounds.max_temperature_ratio * self._target_K
        if now > limit:
            fastest = int(np.argmax((atoms.get_momenta() ** 2).sum(1) / atoms.get_masses()))
            found = f"{now:.0f} K; the fastest is {_atom(atoms, fastest)}, nearest to {_surroundings(atoms, fastest)}"
            self._stop(step, "max_temperature_ratio", f"a temperature below {limit:.0f} K", found)

    def failed(self, step: int, atoms: Atoms, reason: Exception) -> SimulationError:
        """The error for a potential that refuses the structure."""
        closest = _closest(atoms)
        return self._error(step, "a structure that the potential accepts", f"{closest} ({reason})")

    def _bond_lengths(self, step: int, atoms: Atoms, limit: float) -> None:
        lengths = self._bonds.lengths(atoms.positions, atoms.cell.array)
        stretch = lengths - self._lengths
        worst = int(np.argmax(stretch))
        if stretch[worst] > limit:
            pair = " and ".join(_atom(atoms, int(ends[worst])) for ends in (self._bonds.first, self._bonds.second))
            found = f"{pair} at {lengths[worst]:.3f} Å, {self._lengths[worst]:.3f} Å at the start"
            self._stop(step, "max_bond_change", f"no bond stretched by more than {limit:g} Å", found)

    def _stop(self, step: int, bound: str, expected: str, found: str) -> None:
        key = f"md.watchdog.{bound} (of several runs, md.RUN.watchdog.{bound})"
        raise self._error(step, expected, found, f" If the bound is too strict for this system, change {key}.")

    def _error(self, step: int, expected: str, found: str, advice: str = "") -> SimulationError:
        return SimulationError(
            f"{self._clock.reads(step)} of {self._name}",
            expected=expected,
            found=found,
            do="Add structures like the last one of reports/simulation/trajectory.extxyz to the training data, or lower the time step or "
            f"the temperature.{advice}",
        )


def _atom(atoms: Atoms, index: int) -> str:
    """`atom 7 (H)`; counted from 0 as in ASE."""
    return f"atom {index} ({atoms.symbols[index]})"


def _surroundings(atoms: Atoms, index: int, count: int = 3) -> str:
    """The nearest atoms of one atom and their distances."""
    others = [k for k in range(len(atoms)) if k != index]
    if not others or not np.isfinite(atoms.positions).all():
        return "unknown"
    distance = atoms.get_distances(index, others, mic=bool(atoms.pbc.any()))
    nearest = np.argsort(distance)[:count]
    return ", ".join(f"{_atom(atoms, others[k])} at {distance[k]:.3f} Å" for k in nearest)


def _closest(atoms: Atoms) -> str:
    """The closest pair of all."""
    if len(atoms) < 2 or not np.isfinite(atoms.positions).all():
        return "positions that are not finite"
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(distances, np.inf)
    i, j = np.unravel_index(int(np.argmin(distances)), distances.shape)
    return f"{_atom(atoms, int(i))} and {_atom(atoms, int(j))} at {distances[i, j]:.3f} Å"
