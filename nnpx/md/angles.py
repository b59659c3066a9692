"""Which angles the neighbours of an atom have, whoever its neighbours are at the time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float, Int

from nnpx.md.observables import standard_error
from nnpx.md.pairs import BLOCKS, FRAMES
from nnpx.md.trajectory import Trajectory
from nnpx.neighbor_search import pairs_within

#: width of the bins, °
_BIN: Final = 2.0


@dataclass(frozen=True)
class AngularDistribution:
    """Angles at an atom between two of its neighbours: a density whose integral is 1. That of an ideal gas is ½ sin θ, no constant."""

    triple: str  #: elements, such as `H-O-H`, with that of the atom in the middle
    angle: Float[np.ndarray, " bin"]  #: middle of the bin, °
    value: Float[np.ndarray, " bin"]  #: 1/°
    error: Float[np.ndarray, " bin"]  #: standard error


def angular_distributions(trajectory: Trajectory, bond_factor: float) -> list[AngularDistribution]:
    """Of every triple of elements j-i-k: all angles whose two legs are bonds in their frame, those that form and break as well.

    An atom is a neighbour when closer than `bond_factor` × the sum of the covalent radii (Cordero et al. 2008, doi:10.1039/b801115j).
    """
    edges = np.arange(0.0, 180.0 + _BIN, _BIN)
    frames = trajectory.structures(FRAMES)
    counts: dict[str, np.ndarray] = {}
    for k, atoms in enumerate(frames):
        for triple, angles in _angles(atoms, bond_factor):
            counts.setdefault(triple, np.zeros((len(frames), len(edges) - 1)))[k] = np.histogram(angles, edges)[0]
    found = []
    for triple, of_triple in sorted(counts.items()):
        value = of_triple.sum(0) / of_triple.sum()
        # of a ratio of two sums, so that blocks with fewer angles weigh less
        away = of_triple - value * of_triple.sum(1, keepdims=True)
        blocks = np.array([block.mean(0) for block in np.array_split(away, min(BLOCKS, len(away)))])
        error = standard_error(blocks) / of_triple.sum(1).mean()
        found.append(AngularDistribution(triple, edges[:-1] + 0.5 * _BIN, value / _BIN, error / _BIN))
    return found


def _angles(atoms: Atoms, bond_factor: float) -> Iterator[tuple[str, Float[np.ndarray, " angle"]]]:
    """The angles of one structure in degrees, by elements."""
    radii = covalent_radii[atoms.numbers]
    i, j, shift, distance = pairs_within(atoms, 2.0 * bond_factor * float(radii.max()))
    bonded = distance < bond_factor * (radii[i] + radii[j])
    i, j = i[bonded].astype(int), j[bonded].astype(int)
    legs = (atoms.positions[j] + shift[bonded] @ atoms.cell.array - atoms.positions[i]) / distance[bonded, None]
    one, two = _both_legs(i)
    angles = np.degrees(np.arccos(np.clip((legs[one] * legs[two]).sum(1), -1.0, 1.0)))
    ends = np.sort(atoms.numbers[[j[one], j[two]]], axis=0)
    kinds, kind = np.unique([atoms.numbers[i[one]], *ends], axis=1, return_inverse=True)
    for k, (center, *others) in enumerate(kinds.T):
        low, high = sorted(chemical_symbols[number] for number in others)
        yield f"{low}-{chemical_symbols[center]}-{high}", angles[kind.ravel() == k]


def _both_legs(center: Int[np.ndarray, " leg"]) -> tuple[Int[np.ndarray, " angle"], Int[np.ndarray, " angle"]]:
    """Every two legs of an atom once, where legs are sorted by atom: each with those that follow it."""
    n_following = np.searchsorted(center, center, side="right") - np.arange(len(center)) - 1
    one = np.repeat(np.arange(len(center)), n_following)
    nth = np.arange(len(one)) - np.repeat(np.cumsum(n_following) - n_following, n_following)
    return one, one + 1 + nth
