"""Units of labelling work: a batch of given geometries, a trajectory, an isolated atom.

A job is self-contained: it holds its geometry, its seed and its numbers, runs in any process in any order, and its key says whether
two jobs are the same. Molecular dynamics visits geometries with their Boltzmann weight; each frame is labelled by a fresh
calculator, so that its label depends on the geometry alone and not on the way there.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, final, runtime_checkable

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.md.langevin import Langevin
from ase.optimize import FIRE

from nnpx.data.frames import attach, labels, record
from nnpx.errors import ReferenceEngineError

#: `config_type` of a structure that is one atom in vacuum
ISOLATED: Final = "isolated_atom"
#: largest force that counts as relaxed before dynamics, eV/Å; heating forgets the rest
_RELAXED: Final = 0.05


@runtime_checkable
class Engine(Protocol):
    """What a job needs of a reference engine."""

    @property
    def level_of_theory(self) -> str:
        """Method and version, in words."""

    @property
    def identity(self) -> str:
        """Changes with whatever changes a label."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What the calculator raises when one structure fails."""

    def calculator(self) -> BaseCalculator:
        """A fresh ASE calculator."""

    def label(self, atoms: Atoms) -> Atoms:
        """A labelled copy of the structure."""

    def isolated_atom(self, symbol: str) -> float:
        """Energy of one atom in vacuum, eV."""


@final
@dataclass(frozen=True)
class Failure:
    """A structure that has no label, and why."""

    name: str
    reason: str


@final
@dataclass(frozen=True)
class Batch:
    """What a job gives: labelled structures in order, and what failed."""

    structures: list[Atoms]
    failures: list[Failure]


class Job(ABC):
    """One unit of work; subclasses are frozen dataclasses."""

    name: str

    @property
    @abstractmethod
    def size(self) -> int:
        """Structures that the job should give."""

    @abstractmethod
    def run(self, engine: Engine) -> Batch:
        """Do the work. A failed self-consistent cycle becomes a `Failure`, never an exception."""

    @final
    def key(self) -> str:
        """A hash of everything that the result depends on besides the engine."""
        content = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]  # all jobs are dataclasses
        return hashlib.sha256(json.dumps([type(self).__name__, content], sort_keys=True).encode()).hexdigest()


@final
@dataclass(frozen=True)
class SinglePoints(Job):
    """Label given geometries, each with a fresh calculator."""

    name: str
    structures: tuple[Atoms, ...]

    @property
    def size(self) -> int:
        """One label per geometry."""
        return len(self.structures)

    def run(self, engine: Engine) -> Batch:
        """Label one after the other."""
        done, failures = [], []
        for index, atoms in enumerate(self.structures):
            try:
                done.append(engine.label(atoms))
            except ReferenceEngineError as error:
                failures.append(Failure(f"{self.name}, geometry {index}", str(error)))
        return Batch(done, failures)


@final
@dataclass(frozen=True)
class IsolatedAtom(Job):
    """The energy of one atom in vacuum: the zero from which binding is counted."""

    name: str
    symbol: str

    @property
    def size(self) -> int:
        """One atom."""
        return 1

    def run(self, engine: Engine) -> Batch:
        """One structure marked `config_type=isolated_atom`."""
        try:
            energy = engine.isolated_atom(self.symbol)
        except ReferenceEngineError as error:
            return Batch([], [Failure(self.name, str(error))])
        return Batch([isolated(self.symbol, energy)], [])


@final
@dataclass(frozen=True)
class Dynamics:
    """How a trajectory samples.

    Args:
        timestep_fs: integration step, fs.
        friction_per_fs: coupling to the bath, 1/fs; its inverse is the time over which velocities are forgotten.
        n_relax: steps of energy minimisation before the dynamics.
        n_equilibration: steps before the first frame.
        stride: steps between frames.
    """

    timestep_fs: float
    friction_per_fs: float
    n_relax: int
    n_equilibration: int
    stride: int


@final
@dataclass(frozen=True)
class Trajectory(Job):
    """Frames of Langevin dynamics, decorrelated by a stride, labelled by the engine that drives them.

    A failed cycle ends the trajectory: what came before is kept, what is lost is recorded.
    """

    name: str
    atoms: Atoms
    temperature_K: float
    dynamics: Dynamics
    n_frames: int
    seed: tuple[int, ...]

    @property
    def size(self) -> int:
        """One label per frame."""
        return self.n_frames

    def run(self, engine: Engine) -> Batch:
        """Minimise, equilibrate, sample."""
        frames: list[Atoms] = []
        broken: tuple[type[Exception], ...] = (ReferenceEngineError, *engine.failures)
        try:
            self._sample(engine, frames)
        except broken as error:
            lost = self.n_frames - len(frames)
            return Batch(frames, [Failure(f"{self.name}, frame {len(frames)}", f"{lost} frames lost: {error}")])
        return Batch(frames, [])

    def _sample(self, engine: Engine, frames: list[Atoms]) -> None:
        generator = np.random.default_rng(self.seed)
        atoms = self.atoms.copy()
        atoms.calc = engine.calculator()
        if self.dynamics.n_relax:
            FIRE(atoms, logfile=None).run(fmax=_RELAXED, steps=self.dynamics.n_relax)
        spread = np.sqrt(atoms.get_masses() * units.kB * self.temperature_K)
        atoms.set_momenta(spread[:, None] * generator.standard_normal((len(atoms), 3)))
        integrator = Langevin(
            atoms,
            self.dynamics.timestep_fs * units.fs,
            temperature_K=self.temperature_K,
            friction=self.dynamics.friction_per_fs / units.fs,
            fixcm=False,
            rng=generator,
        )
        integrator.run(self.dynamics.n_equilibration)
        for _ in range(self.n_frames):
            integrator.run(self.dynamics.stride)
            frames.append(_centred(engine.label(atoms)))


def isolated(symbol: str, energy: float) -> Atoms:
    """One atom in vacuum with its energy (eV), marked as such."""
    return attach(Atoms(symbol, info={"config_type": ISOLATED}), energy=energy, forces=None, stress=None)


def _centred(atoms: Atoms) -> Atoms:
    """A molecule drifts with its centre of mass, which says nothing: put it at the origin."""
    found = labels(atoms)
    frame = attach(atoms, energy=found["energy"], forces=found["forces"], stress=found.get("stress"))
    if not any(frame.pbc):
        frame.positions -= frame.get_center_of_mass()
        frame.calc.atoms.positions = frame.positions
    return frame


def _plain(value: Any) -> Any:
    if isinstance(value, Atoms):
        return record(value)
    if isinstance(value, Dynamics):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
