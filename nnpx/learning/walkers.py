"""Walkers: molecular dynamics that looks for what the ensemble does not know."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, final

import numpy as np
from annotated_types import Ge, Gt, Len
from ase import Atoms
from jaxtyping import Float

from nnpx.acquisition.threshold import Limits
from nnpx.data.checks import check_geometry
from nnpx.data.files import open_structures
from nnpx.ensemble import Ensemble
from nnpx.errors import GeometryError, SimulationError
from nnpx.learning.places import RoundFolder
from nnpx.learning.uncertainty import distances, of_structures
from nnpx.learning.ways import ABSURD, ARRIVED, FOREIGN, LOST, PAUSED, UNKNOWN, Way, write_ways
from nnpx.md.batched import BatchedDynamics
from nnpx.md.momenta import draw_momenta, remove_rigid_motion
from nnpx.md.record import Joined
from nnpx.md.walker import named, read_walker, refuse_constraints, start_walker
from nnpx.md.watchdog import Watchdog
from nnpx.neighbors import graph_from_list
from nnpx.structures import TOO_CLOSE

#: an uncertainty is written down as at most so many times the upper limit
LEVEL_AT_MOST: Final = 10.0
#: steps that fewer walkers make together before they are recorded; a round that was killed begins anew, and has the same bits
RECORD_AFTER: Final = 60
#: told the share of the round that has passed, and of each walker its uncertainty in units of the upper limit, and its fate
Watch = Callable[[float, Mapping[str, tuple[float, str]]], None]


@final
@dataclass(frozen=True)
class Look:
    """What is seen of a walker; nothing where the potential could not follow it."""

    uncertainty: float = np.inf  #: largest calibrated spread of the force on an atom, eV/Å
    distance: float = np.inf  #: largest Mahalanobis distance of an atom from training
    forces: Float[np.ndarray, "atom 3"] | None = None  #: eV/Å


@final
class Walkers:
    """Several structures at several temperatures, all moved together by the ensemble, each paused where it is no longer to be trusted.

    At every look a structure within the band is a candidate; beyond the band the walker is lost, farther from training than the band holds
    it is on foreign ground, and beyond the watchdog's bounds absurd. It then goes back to the last look at which it was none of these, and
    waits there for the next potential; where there is none, it begins anew. The last structure before a walker was lost or on foreign
    ground is a candidate too: just there the potential went wrong. A structure from which a walker cannot even begin is labelled, as one
    with an element that the potential does not know.

    Args:
        structures: file of start structures, which the walkers take in turn; None for the training set.
        temperatures_K: of the heat baths.
        n_walkers: per temperature.
        timestep_fs: Δt.
        friction_per_fs: γ of the heat baths.
        round_ps: every walker's way in a round.
        look_every_fs: time between two looks; rounded to whole steps.
        keep_every_fs: time between two looks that are kept for people; rounded to whole looks. None for none.
        max_candidates: of one walker in a round.
        skin: see `nnpx.md.batched.BatchedDynamics`.
        bias: τ of V − τ σ_V, in which walkers move: a number around 1 leads them to where members disagree; 0 for none. See
            `nnpx.md.batched.BatchedDynamics`.
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
        keep_every_fs: Annotated[float, Gt(0)] | None,
        max_candidates: Annotated[int, Ge(1)],
        skin: Annotated[float, Ge(0)],
        bias: Annotated[float, Ge(0)],
        bond_factor: Annotated[float, Gt(0)],
        watchdog: Watchdog,
    ) -> None:
        self.structures, self.temperatures_K, self.n_walkers = structures, temperatures_K, n_walkers
        self.timestep_fs, self.friction_per_fs, self.max_candidates = timestep_fs, friction_per_fs, max_candidates
        self.skin, self.bias, self.bond_factor, self.watchdog = skin, bias, bond_factor, watchdog
        self.stride = max(1, round(look_every_fs / timestep_fs))
        self.keep_every = max(1, round(keep_every_fs / (self.stride * timestep_fs))) if keep_every_fs is not None else None
        self.n_looks = max(1, round(1000 * round_ps / (self.stride * timestep_fs)))

    def begin(self, train: Sequence[Atoms], folder: Path, *, here: RoundFolder, seed: tuple[int, ...]) -> None:
        """Writes the state with which every walker begins.

        Args:
            train: the training set.
            folder: where a relative path starts.
            here: where to write.
            seed: of momenta and noise.

        Raises:
            DataError: the file cannot be read.
            GeometryError: positions or a cell make no sense, or two atoms are in one place.
            SpeciesError: an atom is of no element.
            ConfigError: a structure with constraints.
        """
        known = list(train)
        if self.structures is not None:
            known = open_structures(folder / self.structures)
            check_geometry(known, self.structures, minimum_distance=TOO_CLOSE)
        count = self.n_walkers * len(self.temperatures_K)
        chosen = np.linspace(0, len(known) - 1, count).round().astype(int) if len(known) > count else np.arange(count) % len(known)
        for k, (one, (_, kelvin)) in enumerate(zip(chosen, self._named, strict=True)):
            refuse_constraints(known[one], "learning.walkers.structures")
            start_walker(known[one], temperature_K=kelvin, seed=[*seed, 2, k]).write(here.walker(k))

    def walk(
        self,
        potential: Ensemble,
        limits: Limits,
        *,
        begun: RoundFolder,
        before: RoundFolder,
        here: RoundFolder,
        seed: tuple[int, ...],
        n_drawn: int,
        watch: Watch,
    ) -> None:
        """One round of walking; writes state, candidates, drawn frames and what there is to tell.

        Trails are begun anew and grow on the way: a round that was killed is walked again, and shows what it would have shown.

        Args:
            potential: what moves the walkers, and says how far it is to be trusted.
            limits: the band.
            begun: where walkers began.
            before: the round before, whose walkers go on.
            here: where to write.
            seed: of what is drawn in this round.
            n_drawn: frames to draw at random from the way of all.
            watch: told after every look.
        """
        starts = [read_walker(begun.walker(k)).atoms for k in range(len(self.names))]
        ways = self._ways(starts, before, here)
        for way in ways:
            if not set(way.walker.atoms.numbers.tolist()) <= set(potential.numbers):
                way.fate = UNKNOWN
        batch = BatchedDynamics(
            potential,
            [way.walker for way in ways],
            timestep_fs=self.timestep_fs,
            friction_per_fs=self.friction_per_fs,
            skin=self.skin,
            record_after=RECORD_AFTER,
            bias=self.bias,
        )
        self._first_look(ways, potential, limits)
        self._show(ways, 0)
        for look in range(1, self.n_looks + 1):
            moving = {k: way for k, way in enumerate(ways) if not way.fate}
            seen = self._looks(batch, moving)
            for k, way in moving.items():
                way.walked_fs += self.stride * self.timestep_fs
                self._judge(way, seen.get(k, Look()), limits)
            self._show(moving.values(), look)
            watch(look / self.n_looks, {way.name: (way.level, way.fate) for way in ways})
        for way, start in zip(ways, starts, strict=True):
            self._end(way, start)
        write_ways(ways, here, limits=limits, random=np.random.default_rng((*seed, 3)), n_drawn=n_drawn)

    @property
    def names(self) -> list[str]:
        """What the walkers are called: temperature and number."""
        return [name for name, _ in self._named]

    @property
    def _named(self) -> list[tuple[str, float]]:
        """Their names and temperatures, K."""
        return named(self.temperatures_K, self.n_walkers)

    def _ways(self, starts: Sequence[Atoms], before: RoundFolder, here: RoundFolder) -> list[Way]:
        """Every walker where it was."""
        ways = []
        for k, ((name, kelvin), start) in enumerate(zip(self._named, starts, strict=True)):
            guard = self.watchdog.guard(start, bond_factor=self.bond_factor, target_K=kelvin, timestep_fs=self.timestep_fs, name=name)
            ways.append(Way(name, read_walker(before.walker(k)), guard, self.timestep_fs, Joined(here.trail(name))))
        return ways

    def _show(self, ways: Iterable[Way], look: int) -> None:
        """Keep for people where these walkers are, if it is time, or has come to an end."""
        for way in ways:
            if self.keep_every is not None and (way.fate or look % self.keep_every == 0):
                way.show()

    def _first_look(self, ways: Sequence[Way], potential: Ensemble, limits: Limits) -> None:
        """What the new potential says of where the walkers are."""
        waiting = [way for way in ways if not way.fate]
        if not waiting:
            return
        atoms, numbers, cutoff = [way.walker.atoms for way in waiting], potential.numbers, potential.cutoff_radius
        spreads, forces = of_structures(potential, graph_from_list(atoms, numbers=numbers, cutoff=cutoff, where="the walkers"))
        ends = np.cumsum([len(way.walker.atoms) for way in waiting])[:-1]
        for way, *look in zip(waiting, spreads.tolist(), _distances(potential, waiting), np.split(forces, ends), strict=True):
            self._judge(way, Look(*look), limits)

    def _looks(self, batch: BatchedDynamics, moving: Mapping[int, Way]) -> dict[int, Look]:
        """What is seen at the next look of the walkers that the potential could follow there."""
        spreads = {k: spread for k, spread in self._advance(batch, list(moving)).items() if np.isfinite(spread)}
        far = _distances(batch.ensemble, [moving[k] for k in spreads])
        return {k: Look(spread, far_off, moving[k].walker.forces) for (k, spread), far_off in zip(spreads.items(), far, strict=True)}

    def _advance(self, batch: BatchedDynamics, moving: Sequence[int]) -> dict[int, float]:
        """The walkers that the potential could follow to the next look, with the largest spread of their forces."""
        if not moving:
            return {}
        try:
            course = batch.advance(self.stride, moving, stride=self.stride, spread=True)
        except GeometryError:  # of one of them: it must not stop the others
            return {} if len(moving) == 1 else {k: one for each in moving for k, one in self._advance(batch, [each]).items()}
        return dict(zip(course.walkers, course.forces_std_max[-1].tolist(), strict=True))

    def _judge(self, way: Way, look: Look, limits: Limits) -> None:
        """What follows from a look at a walker."""
        uncertainty = way.measured = look.uncertainty
        if not np.isfinite(uncertainty) or look.forces is None or self._is_absurd(way, look.forces):
            way.fate = ABSURD
        elif uncertainty > limits.upper:
            way.fate = LOST
        elif look.distance > limits.farthest:
            way.fate = FOREIGN
        way.level = min(uncertainty / limits.upper, LEVEL_AT_MOST) if np.isfinite(uncertainty) else LEVEL_AT_MOST
        way.uncertainty.append(max(way.level * limits.upper, limits.upper if way.fate in (FOREIGN, ABSURD) else 0.0))
        if way.fate in (LOST, FOREIGN) and way.frames and (not way.candidates or way.candidates[-1] is not way.frames[-1]):
            way.candidates.append(way.frames[-1])
        if way.fate:
            return
        way.trust(uncertainty)
        if limits.holds(uncertainty):
            way.candidates.append(way.frames[-1])
            if len(way.candidates) >= self.max_candidates:
                way.fate = PAUSED

    def _is_absurd(self, way: Way, forces: Float[np.ndarray, "atom 3"]) -> bool:
        try:
            way.guard.forces(way.walker.step, way.walker.atoms, forces)
            way.guard.geometry(way.walker.step, way.walker.atoms)
            way.guard.temperature(way.walker.step, way.walker.atoms, 3 * len(way.walker.atoms))
        except (SimulationError, GeometryError):
            return True
        return False

    def _end(self, way: Way, start: Atoms) -> None:
        """The end of the round: a walker that was not to be trusted any more goes back."""
        way.fate = way.fate or ARRIVED
        way.cannot_begin = way.walker.step == 0 and not way.frames
        if way.fate in (LOST, FOREIGN, ABSURD):
            self._go_back(way, start)

    def _go_back(self, way: Way, start: Atoms) -> None:
        """To the last look that was right; to the beginning, with new momenta, where there is none but the first."""
        if len(way.frames) > 1:
            way.return_to_trusted()
            return
        walker = way.walker
        walker.atoms.positions, walker.step = start.positions.copy(), 0
        draw_momenta(walker.atoms, walker.temperature_K, walker.random)
        remove_rigid_motion(walker.atoms)


def _distances(potential: Ensemble, ways: Sequence[Way]) -> list[float]:
    """How far each walker is from training."""
    found: list[float] = distances(potential, [way.walker.atoms for way in ways]).tolist() if ways else []
    return found
