"""Many replicas at once: how many leave physics, and when; and what those that stay say of energy and temperature."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, final

import numpy as np
from annotated_types import Ge, Gt, Len
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from jaxtyping import Float

from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, GeometryError, SimulationError
from nnpx.md import Dynamics, Simulation
from nnpx.md.batched import BatchedDynamics
from nnpx.md.momenta import internal_degrees_of_freedom
from nnpx.md.replica_course import ReplicaCourse
from nnpx.md.replica_record import ReplicaRecord
from nnpx.md.walker import Walker, level_name, named, start_walker
from nnpx.md.watchdog import Guard, Watchdog

#: what a walker that was stopped remembers: the watchdog's words
STOPPED: Final = "stopped"


@final
class Replicas(Simulation):
    """Many replicas of one structure, advanced by one evaluation per step: in heat baths (BAOAB, see `nnpx.md.langevin`) or without.

    They differ in momenta and noise. One that leaves the watchdog's bounds at a look stops there; the others go on. Without friction there
    is no bath but Newton's equations (velocity Verlet), and no temperature: from a minimum of V half of the kinetic energy goes into V.

    Args:
        engine: what moves the atoms; `batched` evaluates all replicas at once.
        structure: file whose first structure is the start; None leaves the choice to the caller.
        temperatures_K: of the initial momenta and of the heat baths.
        n_replicas: per temperature.
        timestep_fs: Δt. 0.5 with hydrogen, 2 for heavy elements.
        friction_per_fs: γ of the heat baths; 0 for Newton's equations.
        duration_ps: how long each is followed.
        averaged_after_ps: averages leave out the time before, in which a bath, within some 1/γ, makes the ensemble canonical.
        look_every_fs: time between two looks of the watchdog, at which energies are written down; rounded to whole steps.
        skin: see `nnpx.md.batched.BatchedDynamics`.
        bond_factor: see `nnpx.md.Dynamics`.
        watchdog: the bounds beyond which a replica stops.

    Raises:
        ConfigError: two temperatures are the same, or the runs end before averages begin.
    """

    name = "replicas"

    def __init__(
        self,
        *,
        engine: Literal["batched"],
        structure: str | None,
        temperatures_K: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        n_replicas: Annotated[int, Ge(1)],
        timestep_fs: Annotated[float, Gt(0)],
        friction_per_fs: Annotated[float, Ge(0)],
        duration_ps: Annotated[float, Gt(0)],
        averaged_after_ps: Annotated[float, Ge(0)],
        look_every_fs: Annotated[float, Gt(0)],
        skin: Annotated[float, Ge(0)],
        bond_factor: Annotated[float, Gt(0)],
        watchdog: Watchdog,
    ) -> None:
        self.engine, self.structure, self.temperatures_K, self.n_replicas = engine, structure, temperatures_K, n_replicas
        self.timestep_fs, self.friction_per_fs, self.averaged_after_ps = timestep_fs, friction_per_fs, averaged_after_ps
        self.skin, self.bond_factor, self.watchdog = skin, bond_factor, watchdog
        self.stride = max(1, round(look_every_fs / timestep_fs))
        self.n_looks = max(1, round(1000.0 * duration_ps / (self.stride * timestep_fs)))
        self.looks_before_averages = round(1000.0 * averaged_after_ps / (self.stride * timestep_fs))
        if len(set(self.levels)) < len(temperatures_K):
            do = "Name each of them once: md.n_replicas says how many replicas it has."
            raise ConfigError("md.temperatures_K", expected="temperatures that differ", found=", ".join(self.levels), do=do)
        if averaged_after_ps >= duration_ps:
            expected, do = f"less than the {duration_ps:g} ps of md.duration_ps", "Make it 0, or the runs longer."
            raise ConfigError("md.averaged_after_ps", expected=expected, found=f"{averaged_after_ps:g}", do=do)

    def runs(self) -> dict[str, Dynamics]:
        """None alone."""
        return {}

    @property
    def steps(self) -> int:
        """Of a replica that is not stopped."""
        return self.n_looks * self.stride

    @property
    def has_bath(self) -> bool:
        """Whether kinetic energies are canonical."""
        return self.friction_per_fs > 0

    @property
    def levels(self) -> list[str]:
        """What the temperatures are called."""
        return [level_name(kelvin) for kelvin in self.temperatures_K]

    @property
    def by_name(self) -> dict[str, float]:
        """The temperature of every replica, K, by what it is called: 500K-3."""
        return dict(named(self.temperatures_K, self.n_replicas))

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """How many momenta are not conserved: 3N in baths, which change every momentum; 3N − 6 or 3N − 3 without."""
        return 3 * len(atoms) if self.has_bath else internal_degrees_of_freedom(atoms)

    def guards(self, start: Atoms) -> list[Guard]:
        """The watchdog's, of every replica."""
        return [
            self.watchdog.guard(start, bond_factor=self.bond_factor, target_K=kelvin, timestep_fs=self.timestep_fs, name=name)
            for name, kelvin in self.by_name.items()
        ]


@dataclass(frozen=True)
class Fates:
    """How long every replica was followed, what it went through, and why it was stopped."""

    time_ps: Float[np.ndarray, " replica"]  #: until the watchdog stopped it, or all the time
    stopped: list[str]  #: the watchdog's words; empty where it did not stop
    course: ReplicaCourse  #: at every look
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
        seed: replica k, of all in order, draws from [seed, k].
        folder: for the states and the course; of this potential, start and seed alone.
        frames: file (extxyz) for the last structure of every replica.
        progress: told after every look how many steps are done of how many.
    """
    kelvins = list(replicas.by_name.values())
    record, guards, freedoms = ReplicaRecord(folder, len(kelvins)), replicas.guards(start), replicas.degrees_of_freedom(start)
    walkers = record.resume() or [start_walker(start, temperature_K=kelvin, seed=[seed, k]) for k, kelvin in enumerate(kelvins)]
    engine = BatchedDynamics(
        ensemble, walkers, timestep_fs=replicas.timestep_fs, friction_per_fs=replicas.friction_per_fs, skin=replicas.skin
    )
    began = time.perf_counter()
    before = float(walkers[0].memory.get("wall_s", 0.0))
    looks = int(walkers[0].memory.get("looks", 0))
    for look in range(looks + 1, replicas.n_looks + 1):
        moving = [k for k, walker in enumerate(walkers) if STOPPED not in walker.memory]
        _advance(engine, moving, replicas.stride, guards)
        record.append(np.array([_sample(walker, look * replicas.stride) for walker in walkers]))
        for k in moving:
            _judge(walkers[k], guards[k], freedoms)
        walkers[0].memory |= {"looks": np.array(look), "wall_s": np.array(before + time.perf_counter() - began)}
        if record.is_due() or look == replicas.n_looks:
            record.keep(walkers, look)
        progress(look * replicas.stride, replicas.steps)
    _write_frames(dict(zip(replicas.by_name, walkers, strict=True)), frames, replicas.timestep_fs)
    times = np.arange(1, replicas.n_looks + 1) * replicas.stride * replicas.timestep_fs / 1000.0
    return _fates(walkers, ReplicaCourse(times, *record.course(), n_atoms=len(start), degrees_of_freedom=freedoms), replicas.timestep_fs)


def _advance(engine: BatchedDynamics, moving: list[int], steps: int, guards: list[Guard]) -> None:
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


def _sample(walker: Walker, step: int) -> tuple[float, float, float]:
    """V, E_kin and the members' spread of V; NaN of a walker that has not come to this step."""
    if walker.step < step:
        return float("nan"), float("nan"), float("nan")
    return walker.energy, float(walker.atoms.get_kinetic_energy()), walker.energy_std


def _judge(walker: Walker, guard: Guard, degrees_of_freedom: int) -> None:
    """Ask the watchdog."""
    if STOPPED in walker.memory or walker.forces is None:
        return
    try:
        guard.forces(walker.step, walker.atoms, walker.forces)
        guard.geometry(walker.step, walker.atoms)
        guard.temperature(walker.step, walker.atoms, degrees_of_freedom)
    except SimulationError as alarm:
        walker.memory[STOPPED] = np.array(str(alarm))


def _fates(walkers: list[Walker], course: ReplicaCourse, timestep_fs: float) -> Fates:
    """Where they have come to."""
    return Fates(
        time_ps=np.array([walker.step for walker in walkers]) * timestep_fs / 1000.0,
        stopped=[str(walker.memory.get(STOPPED, "")) for walker in walkers],
        course=course,
        steps=sum(walker.step for walker in walkers),
        wall_s=float(walkers[0].memory["wall_s"]),
    )


def _write_frames(walkers: dict[str, Walker], path: Path, timestep_fs: float) -> None:
    """Where every replica ended, by name."""
    frames = []
    for name, walker in walkers.items():
        frame = walker.atoms.copy()
        frame.info.update(run=name, time_ps=walker.step * timestep_fs / 1000.0, stopped=STOPPED in walker.memory)
        frame.calc = SinglePointCalculator(frame, energy=walker.energy, forces=walker.forces)
        frames.append(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames, format="extxyz")
