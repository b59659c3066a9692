"""Walkers: molecular dynamics that looks for what the ensemble does not know."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, final

import numpy as np
from annotated_types import Ge, Gt, Len
from ase import Atoms

from nnpx.acquisition.threshold import Limits
from nnpx.data.files import open_structures
from nnpx.errors import GeometryError, SimulationError
from nnpx.learning.herd import Herd
from nnpx.learning.places import Place
from nnpx.learning.uncertainty import Calibrated, of_structures
from nnpx.learning.ways import ABSURD, ARRIVED, LOST, PAUSED, UNKNOWN, Way, frame, restored, write_ways
from nnpx.md.momenta import draw_momenta
from nnpx.md.watchdog import Watchdog

#: told the share of the round that has passed, and of each walker its uncertainty in units of the upper limit, and its fate
Watch = Callable[[float, Mapping[str, tuple[float, str]]], None]


@final
class Walkers:
    """Several structures at several temperatures, all moved together by the ensemble, each paused where it is no longer to be trusted.

    At every look a structure within the band is a candidate; beyond the band the walker is lost, and beyond the watchdog's bounds absurd.
    It then goes back to the last look at which it was neither, and waits there for the next potential; where there is none, it begins
    anew. The last structure before a walker was lost is a candidate too: just there the potential went wrong.

    Args:
        structures: file of start structures, which the walkers take in turn; None for the training set.
        temperatures_K: of the heat baths.
        n_walkers: per temperature.
        timestep_fs: Δt.
        friction_per_fs: γ of the heat baths.
        round_ps: every walker's way in a round.
        look_every_fs: time between two looks; rounded to whole steps.
        max_candidates: of one walker in a round.
        bond_factor: see `nnpx.md.Dynamics`.
        watchdog: what is absurd.
    """

    def __init__(
        self,
        *,
        structures: str | None,
        temperatures_K: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        n_walkers: Annotated[int, Ge(1)],
        timestep_fs: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Gt(0)],
        round_ps: Annotated[float, Gt(0)],
        look_every_fs: Annotated[float, Gt(0)],
        max_candidates: Annotated[int, Ge(1)],
        bond_factor: Annotated[float, Gt(0)],
        watchdog: Watchdog,
    ) -> None:
        self.structures, self.temperatures_K, self.n_walkers = structures, temperatures_K, n_walkers
        self.timestep_fs, self.friction_per_fs, self.max_candidates = timestep_fs, friction_per_fs, max_candidates
        self.bond_factor, self.watchdog = bond_factor, watchdog
        self.stride = max(1, round(look_every_fs / timestep_fs))
        self.n_looks = max(1, round(1000 * round_ps / (self.stride * timestep_fs)))

    def starts(self, train: Sequence[Atoms], folder: Path) -> list[Atoms]:
        """The start structure of every walker.

        Args:
            train: the training set.
            folder: where a relative path starts.

        Raises:
            DataError: the file cannot be read.
        """
        known = list(train) if self.structures is None else open_structures(folder / self.structures)
        count = self.n_walkers * len(self.temperatures_K)
        chosen = np.linspace(0, len(known) - 1, count).round().astype(int) if len(known) > count else np.arange(count) % len(known)
        return [known[k] for k in chosen]

    def walk(
        self,
        potential: Calibrated,
        limits: Limits,
        *,
        starts: Sequence[Atoms],
        state: Path,
        here: Place,
        seed: tuple[int, ...],
        n_drawn: int,
        watch: Watch,
    ) -> None:
        """One round of walking; writes state, candidates, drawn frames and what there is to tell.

        Args:
            potential: what moves the walkers, and says how far it is to be trusted.
            limits: the band.
            starts: start structures of all walkers.
            state: where the walkers were at the end of the round before; they begin where there is no such file.
            here: where to write.
            seed: of momenta and noise.
            n_drawn: frames to draw at random from the way of all.
            watch: told after every look.
        """
        generators = [np.random.default_rng((*seed, 2, k)) for k in range(len(starts))]
        ways = self._ways(starts, state, generators)
        for way in ways:
            if not set(way.atoms.numbers.tolist()) <= set(potential.ensemble.numbers):
                way.fate = UNKNOWN
        herd = Herd(
            potential.ensemble,
            [way.atoms for way in ways],
            temperatures_K=[way.temperature_K for way in ways],
            generators=generators,
            timestep_fs=self.timestep_fs,
            friction_per_fs=self.friction_per_fs,
        )
        for look in range(self.n_looks + 1):
            moving = [k for k, way in enumerate(ways) if not way.fate]
            alive = herd.advance(moving, self.stride if look else 0)
            uncertainty = dict.fromkeys(moving, np.inf) | self._uncertainty(herd, alive, potential)
            for k in moving:
                self._judge(ways[k], uncertainty[k], limits, passed_fs=self.stride * self.timestep_fs if look else 0.0)
            watch(look / self.n_looks, {way.name: (way.level, way.fate) for way in ways})
        for k, way in enumerate(ways):
            way.fate = way.fate or ARRIVED
            if way.fate in (LOST, ABSURD):
                self._go_back(way, starts[k], generators[k])
        random = np.random.default_rng((*seed, 3))
        write_ways(ways, here, limits=limits, factor=potential.factor, random=random, n_drawn=n_drawn)

    def _ways(self, starts: Sequence[Atoms], state: Path, generators: Sequence[np.random.Generator]) -> list[Way]:
        temperatures = [kelvin for kelvin in self.temperatures_K for _ in range(self.n_walkers)]
        ways = []
        for k, (start, kelvin) in enumerate(zip(starts, temperatures, strict=True)):
            name = f"{kelvin:g}K-{k % self.n_walkers}"
            kept = restored(state, k, start)
            atoms, time = kept if kept is not None else (_bare(start), 0.0)
            if kept is None:
                draw_momenta(atoms, kelvin, generators[k])
            guard = self.watchdog.guard(
                _bare(start), bond_factor=self.bond_factor, target_K=kelvin, timestep_fs=self.timestep_fs, name=name
            )
            ways.append(Way(name, kelvin, atoms, guard, time))
        return ways

    def _uncertainty(self, herd: Herd, alive: Sequence[int], potential: Calibrated) -> dict[int, float]:
        """Of every walker that the potential could follow."""
        if not alive:
            return {}
        graph = herd.graph(alive)
        found = of_structures(potential.ensemble(graph).forces_std, graph, potential.factor)
        return dict(zip(alive, found.tolist(), strict=True))

    def _judge(self, way: Way, uncertainty: float, limits: Limits, *, passed_fs: float) -> None:
        """What follows from a look at a walker."""
        way.time_fs, way.walked_fs = way.time_fs + passed_fs, way.walked_fs + passed_fs
        if not np.isfinite(uncertainty) or self._is_absurd(way):
            way.fate = ABSURD
        elif uncertainty > limits.upper:
            way.fate = LOST
        way.level = min(uncertainty / limits.upper, 10.0)
        way.uncertainty.append(max(way.level * limits.upper, limits.upper if way.fate == ABSURD else 0.0))
        if way.fate:
            if way.fate == LOST and way.frames and (not way.candidates or way.candidates[-1] is not way.frames[-1]):
                way.candidates.append(way.frames[-1])
            return
        way.trusted = (way.time_fs, way.atoms.positions.copy(), way.atoms.get_momenta())
        way.frames.append(frame(way, uncertainty))
        if limits.holds(uncertainty):
            way.candidates.append(way.frames[-1])
            if len(way.candidates) >= self.max_candidates:
                way.fate = PAUSED

    def _is_absurd(self, way: Way) -> bool:
        step = round(way.time_fs / self.timestep_fs)
        try:
            way.guard.geometry(step, way.atoms)
            way.guard.temperature(step, way.atoms, 3 * len(way.atoms))
        except (SimulationError, GeometryError):
            return True
        return False

    def _go_back(self, way: Way, start: Atoms, random: np.random.Generator) -> None:
        """To the last look that was right; to the beginning where there is none but the first."""
        if len(way.frames) > 1 and way.trusted is not None:
            way.time_fs, way.atoms.positions, momenta = way.trusted
            way.atoms.set_momenta(momenta)
            return
        way.time_fs, way.atoms.positions = 0.0, start.positions.copy()
        draw_momenta(way.atoms, way.temperature_K, random)


def _bare(atoms: Atoms) -> Atoms:
    """The geometry alone."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={"group": "learned"})
