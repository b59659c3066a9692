"""The structures that the laws are tried on: a molecule without symmetry, and a small skewed crystal of mixed species."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.graph import AtomicGraph, Prediction, join
from nnpx.neighbors import graph_from_atoms


@runtime_checkable
class AnyPotential(Protocol):
    """Whatever predicts energy, forces and stress of a graph: a potential or an ensemble."""

    numbers: list[int]
    cutoff_radius: float

    def __call__(self, graph: AtomicGraph) -> Prediction:
        """Energy, forces and stress."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained."""

    def train(self) -> nn.Module:
        """From here on forces can be differentiated."""

    def eval(self) -> nn.Module:
        """From here on they cannot."""


@final
@dataclass(frozen=True)
class Case:
    """A potential with two structures of its own elements.

    Attributes:
        potential: what is tried; in float64.
        molecule: an open cluster.
        crystal: a periodic one, right-handed, smaller than the cutoff sphere.
    """

    potential: AnyPotential
    molecule: Atoms
    crystal: Atoms

    @staticmethod
    def of(potential: AnyPotential) -> "Case":
        """The potential with made-up structures of its elements."""
        return Case(potential, cluster(potential.numbers), skewed_crystal(potential.numbers))

    def graph(self, atoms: Atoms) -> AtomicGraph:
        """One structure as the potential sees it."""
        return graph_from_atoms(
            atoms, numbers=self.potential.numbers, cutoff=self.potential.cutoff_radius, where="a structure of the contract"
        )

    def predict(self, *structures: Atoms) -> Prediction:
        """Energy, forces and stress of some structures in one batch."""
        return self.potential(join([self.graph(atoms) for atoms in structures]))

    def energies(self, structures: Sequence[Atoms]) -> Float[Tensor, " structure"]:
        """Energies of some structures in one batch, eV."""
        return self.predict(*structures).energy.detach()


def cluster(numbers: Sequence[int]) -> Atoms:
    """Eight atoms on a jittered cube of 1.6 Å edges: every distance and angle differs, bonds and gaps occur."""
    return Atoms(numbers=_cycle(numbers, 8), positions=_jittered_cube(edge=1.6))


def skewed_crystal(numbers: Sequence[int]) -> Atoms:
    """Five atoms near the sites of rock salt in a triclinic cell of about 4.8 Å, in which no two axes are at right angles."""
    cell = np.array([[4.8, 0.3, -0.2], [1.1, 4.7, 0.4], [-0.7, 0.9, 4.9]])
    sites = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) / 2.0
    jitter = np.random.default_rng(20240301).uniform(-0.2, 0.2, size=(5, 3))
    return Atoms(numbers=_cycle(numbers, 5), positions=sites @ cell + jitter, cell=cell, pbc=True)


def random_rotation(seed: int) -> Float[np.ndarray, "3 3"]:
    """A proper rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def rotated(atoms: Atoms, rotation: Float[np.ndarray, "3 3"]) -> Atoms:
    """The structure with every vector v → rotation · v; a crystal that a reflection makes left-handed gets two vectors exchanged."""
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    if atoms.pbc.any() and np.linalg.det(turned.cell.array) < 0:
        turned.set_cell(turned.cell.array[[1, 0, 2]])
        turned.pbc = atoms.pbc[[1, 0, 2]]
    return turned


def displaced(atoms: Atoms, displacement: Float[np.ndarray, "atom 3"]) -> Atoms:
    """The structure with its atoms moved (Å)."""
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def strained(atoms: Atoms, strain: Float[np.ndarray, "3 3"]) -> Atoms:
    """The structure with every vector v → v (1 + strain), atoms carried along."""
    deformed = atoms.copy()
    deformed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=False)
    deformed.positions = atoms.positions @ (np.eye(3) + strain)
    return deformed


def to_tensor(values: np.ndarray) -> Tensor:
    """A float64 tensor with its own memory."""
    return torch.tensor(values, dtype=torch.float64)


def _jittered_cube(edge: float) -> Float[np.ndarray, "atom 3"]:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    return edge * (corners + np.random.default_rng(20240229).uniform(-0.12, 0.12, size=(8, 3)))


def _cycle(numbers: Sequence[int], length: int) -> list[int]:
    return [numbers[k % len(numbers)] for k in range(length)]
