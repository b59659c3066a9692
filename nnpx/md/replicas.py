"""Many replicas at once: how many leave physics, and when?"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from jaxtyping import Float

from nnpx.ensemble import Ensemble
from nnpx.errors import GeometryError, SimulationError
from nnpx.md import Dynamics, Simulation
from nnpx.md.batched import Walkers
from nnpx.md.record import EVERY_S
from nnpx.md.walker import Walker, read_if_whole, start_walker
from nnpx.md.watchdog import Guard, Watchdog

#: what a walker that was stopped remembers: the watchdog's words
STOPPED: Final = "stopped"


@final
class Replicas(Simulation):
    """Langevin dynamics (BAOAB, see `nnpx.md.langevin`) of many replicas of one structure, advanced by one evaluation per step.

    They differ in momenta and noise. One that leaves the watchdog's bounds at a look stops there; the others go on.

    Args:
        engine: what moves the atoms; `batched` evaluates all replicas at once.
        structure: file whose first structure is the start; None leaves the choice to the caller.
        n_replicas: how many.
        timestep_fs: Δt. 0.5 with hydrogen, 2 for heavy elements.
        temperature_K: of the initial momenta and of the heat baths.
        friction_per_fs: γ of the heat baths.
        duration_ps: how long each is followed.
        look_every_fs: time between two looks of the watchdog; rounded to whole steps.
        skin: see `nnpx.md.batched.Walkers`.
        bond_factor: see `nnpx.md.Dynamics`.
        watchdog: the bounds beyond which a replica stops.
    """

    name = "replicas"

    def __init__(
        self,
        *,
        engine: Literal["batched"],
        structure: str | None,
        n_replicas: Annotated[int, Ge(1)],
        timestep_fs: Annotated[float, Gt(0)],
        temperature_K: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Gt(0)],
        duration_ps: Annotated[float, Gt(0)],
        look_every_fs: Annotated[float, Gt(0)],
        skin: Annotated[float, Ge(0)],
        bond_factor: Annotated[float, Gt(0)],
        watchdog: Watchdog,
    ) -> None:
        self.engine, self.structure, self.n_replicas = engine, structure, n_replicas
        self.timestep_fs, self.temperature_K, self.friction_per_fs = timestep_fs, temperature_K, friction_per_fs
        self.skin, self.bond_factor, self.watchdog = skin, bond_factor, watchdog
        self.stride = max(1, round(look_every_fs / timestep_fs))
        self.n_looks = max(1, round(1000.0 * duration_ps / (self.stride * timestep_fs)))

    def runs(self) -> dict[str, Dynamics]:
        """None alone."""
        return {}

    @property
    def steps(self) -> int:
        """Of a replica that is not stopped."""
        return self.n_looks * self.stride


@dataclass(frozen=True)
class Fates:
    """How long every replica was followed, and why it was stopped."""

    time_ps: Float[np.ndarray, " replica"]  #: until the watchdog stopped it, or all the time
    stopped: list[str]  #: the watchdog's words; empty where it did not stop
    steps: int  #: of all replicas together
    wall_s: float  #: time that they took


def follow(
    replicas: Replicas, ensemble: Ensemble, start: Atoms, *, seed: int, folder: Path, frames: Path, progress: Callable[[int, int], None]
) -> Fates:
    """Move all replicas; a call that was killed goes on from the last states in `folder`, to the last bit.

    Args:
        replicas: how many, and how they move.
        ensemble: the potential.
        start: first structure of all.
        seed: replica k draws from [seed, k].
        folder: for the states; of this potential, start and seed alone.
        frames: file (extxyz) for the last structure of every replica.
        progress: told after every look how many steps are done of how many.
    """
    walkers = _read(folder) or [
        start_walker(start, temperature_K=replicas.temperature_K, seed=[seed, k]) for k in range(replicas.n_replicas)
    ]
    guards = [
        replicas.watchdog.guard(
            start, bond_factor=replicas.bond_factor, target_K=replicas.temperature_K, timestep_fs=replicas.timestep_fs, name=f"replica {k}"
        )
        for k in range(len(walkers))
    ]
    engine = Walkers(ensemble, walkers, timestep_fs=replicas.timestep_fs, friction_per_fs=replicas.friction_per_fs, skin=replicas.skin)
    began = kept = time.perf_counter()
    before = float(walkers[0].memory.get("wall_s", 0.0))
    looks = int(walkers[0].memory.get("looks", 0))
    for look in range(looks + 1, replicas.n_looks + 1):
        moving = [k for k, walker in enumerate(walkers) if STOPPED not in walker.memory]
        _advance(engine, moving, replicas.stride, guards)
        for k in moving:
            _judge(walkers[k], guards[k])
        now = time.perf_counter()
        walkers[0].memory |= {"looks": np.array(look), "wall_s": np.array(before + now - began)}
        if now - kept > EVERY_S or look == replicas.n_looks:
            _write(walkers, folder, look)
            kept = now
        progress(look * replicas.stride, replicas.steps)
    _write_frames(walkers, frames, replicas.timestep_fs)
    times = np.array([walker.step for walker in walkers]) * replicas.timestep_fs / 1000.0
    words = [str(walker.memory.get(STOPPED, "")) for walker in walkers]
    return Fates(times, words, sum(walker.step for walker in walkers), float(walkers[0].memory["wall_s"]))


def _advance(engine: Walkers, moving: list[int], steps: int, guards: list[Guard]) -> None:
    """To the next look; a walker whose structure the potential refuses stops, and the others go on without it."""
    if not moving:
        return
    try:
        engine.advance(steps, moving)
    except GeometryError as refused:
        if len(moving) > 1:
            for k in moving:
                _advance(engine, [k], steps, guards)
        else:
            walker = engine.walkers[moving[0]]
            walker.memory[STOPPED] = np.array(str(guards[moving[0]].failed(walker.step, walker.atoms, refused)))


def _judge(walker: Walker, guard: Guard) -> None:
    """Ask the watchdog."""
    if STOPPED in walker.memory or walker.forces is None:
        return
    try:
        guard.forces(walker.step, walker.atoms, walker.forces)
        guard.geometry(walker.step, walker.atoms)
        guard.temperature(walker.step, walker.atoms, 3 * len(walker.atoms))
    except SimulationError as alarm:
        walker.memory[STOPPED] = np.array(str(alarm))


def _write(walkers: list[Walker], folder: Path, look: int) -> None:
    """All states or none: written beside and renamed; then those of the look before can go."""
    draft = folder / "writing"
    shutil.rmtree(draft, ignore_errors=True)
    for k, walker in enumerate(walkers):
        walker.write(draft / f"{k:05d}.npz")
    older = list(folder.glob("look-*"))
    draft.rename(folder / f"look-{look:09d}")
    for one in older:
        shutil.rmtree(one)


def _read(folder: Path) -> list[Walker]:
    """The states of the last look; none where there was none, or one cannot be read."""
    looks = sorted(folder.glob("look-*"))
    walkers = [read_if_whole(path) for path in sorted(looks[-1].glob("*.npz"))] if looks else []
    return [] if None in walkers else [walker for walker in walkers if walker is not None]


def _write_frames(walkers: list[Walker], path: Path, timestep_fs: float) -> None:
    """Where every replica ended."""
    frames = []
    for k, walker in enumerate(walkers):
        frame = walker.atoms.copy()
        frame.info.update(run=f"replica {k}", time_ps=walker.step * timestep_fs / 1000.0, stopped=STOPPED in walker.memory)
        frame.calc = SinglePointCalculator(frame, energy=walker.energy, forces=walker.forces)
        frames.append(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames, format="extxyz")
