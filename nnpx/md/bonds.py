"""Which atoms are bonded, and the lengths and angles that follow."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float, Int

from nnpx.neighbor_search import pairs_within


@dataclass(frozen=True)
class Bonds:
    """Pairs bonded in one structure, followed through a trajectory: r = r_second + S·cell − r_first.

    A trajectory does not wrap atoms back into the cell, so S stays what it was in the start structure.
    """

    numbers: Int[np.ndarray, " atom"]  #: atomic numbers
    first: Int[np.ndarray, " bond"]  #: index of one atom
    second: Int[np.ndarray, " bond"]  #: index of the other
    shift: Int[np.ndarray, "bond 3"]  #: S, the periodic image of the other in units of the cell

    def vectors(
        self, positions: Float[np.ndarray, "*frame atom 3"], cell: Float[np.ndarray, "*#frame 3 3"]
    ) -> Float[np.ndarray, "*frame bond 3"]:
        """From first to second atom, Å."""
        return np.asarray(positions[..., self.second, :] - positions[..., self.first, :] + self.shift @ cell)

    def lengths(
        self, positions: Float[np.ndarray, "*frame atom 3"], cell: Float[np.ndarray, "*#frame 3 3"]
    ) -> Float[np.ndarray, "*frame bond"]:
        """Bond lengths, Å."""
        return np.asarray(np.linalg.norm(self.vectors(positions, cell), axis=-1))

    def by_elements(self) -> dict[str, Int[np.ndarray, " chosen"]]:
        """The bonds of each pair of elements, such as `C-H`, in alphabetical order."""
        pairs = zip(self.numbers[self.first], self.numbers[self.second], strict=True)
        return _group(["-".join(sorted(chemical_symbols[number] for number in pair)) for pair in pairs])

    def angle_legs(self) -> tuple[Int[np.ndarray, "angle 2"], Float[np.ndarray, "angle 2"], list[str]]:
        """Every angle as two bonds, the sign that makes each point away from the shared atom, and its elements (`H-C-H`)."""
        legs, signs, names = [], [], []
        ends = [(self.first, self.second, 1.0), (self.second, self.first, -1.0)]
        around: dict[int, list[tuple[int, float, int]]] = {}
        for centers, others, sign in ends:
            for bond, (center, other) in enumerate(zip(centers, others, strict=True)):
                around.setdefault(int(center), []).append((bond, sign, int(other)))
        for center in sorted(around):
            spokes = sorted(around[center])
            for k, (one, one_sign, i) in enumerate(spokes):
                for two, two_sign, j in spokes[k + 1 :]:
                    legs.append((one, two))
                    signs.append((one_sign, two_sign))
                    low, high = sorted(chemical_symbols[self.numbers[atom]] for atom in (i, j))
                    names.append(f"{low}-{chemical_symbols[self.numbers[center]]}-{high}")
        return np.array(legs, dtype=int).reshape(-1, 2), np.array(signs, dtype=float).reshape(-1, 2), names

    def angles(
        self, positions: Float[np.ndarray, "frame atom 3"], cell: Float[np.ndarray, "*#frame 3 3"]
    ) -> dict[str, Float[np.ndarray, "frame chosen"]]:
        """Angles in degrees by elements: `H-C-H` has C in the middle."""
        legs, signs, names = self.angle_legs()
        vectors = self.vectors(positions, cell)
        one, two = (vectors[..., legs[:, side], :] * signs[:, side, None] for side in (0, 1))
        cosine = (one * two).sum(-1) / (np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1))
        degrees = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        return {name: degrees[:, chosen] for name, chosen in _group(names).items()}


def find_bonds(atoms: Atoms, bond_factor: float) -> Bonds:
    """Pairs closer than `bond_factor` × the sum of their covalent radii (Cordero et al. 2008, doi:10.1039/b801115j)."""
    radii = covalent_radii[atoms.numbers]
    i, j, shift, distance = pairs_within(atoms, 2.0 * bond_factor * float(radii.max()))
    bonded = distance < bond_factor * (radii[i] + radii[j])
    # each pair is listed from both ends; an atom bonded to its own image keeps the image on the positive side
    once = (i < j) | ((i == j) & np.array([tuple(s) > (0, 0, 0) for s in shift], dtype=bool))
    chosen = bonded & once
    return Bonds(atoms.numbers.astype(int), i[chosen].astype(int), j[chosen].astype(int), shift[chosen].astype(int).reshape(-1, 3))


def _group(names: list[str]) -> dict[str, Int[np.ndarray, " chosen"]]:
    """Indices by name, names sorted."""
    return {name: np.array([k for k, other in enumerate(names) if other == name], dtype=int) for name in sorted(set(names))}
