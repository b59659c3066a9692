"""Environments that descriptors are tried on, and whole experiments built for them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from jaxtyping import Float
from torch import Tensor

from nnpx.assembly import Parts, build_parts
from nnpx.config import compose
from nnpx.neighbors import graph_from_atoms


@dataclass(frozen=True)
class Neighbor:
    """What a loop over neighbours sees."""

    number: int
    vector: np.ndarray
    distance: float


def acetamide() -> Atoms:
    """H, C, N and O without any symmetry."""
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.1, seed=5)
    return atoms


def around(atoms: Atoms, atom: int, radius: float) -> list[Neighbor]:
    """The neighbours of one atom of a molecule, from its positions alone."""
    vectors = [
        (int(z), r - atoms.positions[atom]) for k, (z, r) in enumerate(zip(atoms.numbers, atoms.positions, strict=True)) if k != atom
    ]
    return [Neighbor(z, r, math.hypot(*r)) for z, r in vectors if math.hypot(*r) < radius]


def parts_of(overrides: list[str], numbers: list[int]) -> Parts:
    """The modules of a composed experiment."""
    return build_parts(compose(overrides), numbers=numbers, seed=0)


def features_of(parts: Parts, atoms: Atoms) -> Float[Tensor, "atom feature"]:
    """The features of every atom of a structure."""
    graph = graph_from_atoms(atoms, numbers=parts.numbers, cutoff=parts.cutoff_radius, where="test")
    with torch.no_grad():
        features: Tensor = parts.descriptor(graph.edges(), parts.embedding(graph.species))
    return features


def cosine(r: float, radius: float) -> float:
    """Behler's cutoff."""
    return 0.5 * (math.cos(math.pi * r / radius) + 1.0) if r < radius else 0.0
