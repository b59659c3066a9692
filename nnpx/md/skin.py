"""Neighbour lists that last for several steps."""

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from nnpx.graph import AtomicGraph, join, starts
from nnpx.neighbors import graph_from_atoms


@final
class SkinList:
    """The graph of several structures that move, with neighbours searched anew only when they may have changed.

    Neighbours are listed a skin farther than the cutoff; two atoms can only have come within the cutoff unlisted once one of them has
    moved by more than half the skin (Verlet 1967, doi:10.1103/PhysRev.159.98). Pairs beyond the cutoff are left out of the graph and the
    others sorted, so a graph is a function of the positions alone: the same, in the same order, as from a list made at these positions.
    Cells stay what they were in the first call.

    Args:
        numbers: atomic numbers that the potential knows.
        cutoff: radius of the graph, Å.
        skin: Å.
    """

    def __init__(self, *, numbers: Sequence[int], cutoff: float, skin: float) -> None:
        self.numbers, self.cutoff, self.skin = numbers, cutoff, skin
        self._lists: dict[int, AtomicGraph] = {}
        self._joined: tuple[list[int], AtomicGraph] | None = None

    def graph(self, structures: Mapping[int, Atoms], positions: Float[np.ndarray, "atom 3"]) -> AtomicGraph:
        """The structures at new positions.

        Args:
            structures: elements and cells by a number that stands for the structure in every call.
            positions: of all of them, in their order, Å.

        Raises:
            GeometryError: positions are not finite, or atoms coincide in a structure whose list is made.
        """
        names, begin = list(structures), 0
        for name, atoms in structures.items():
            now = positions[begin : begin + len(atoms)]
            begin += len(atoms)
            if not self._is_valid(name, now):
                self._lists[name] = self._make(name, atoms, now)
                self._joined = None
        if self._joined is None or self._joined[0] != names:
            self._joined = names, join([self._lists[name] for name in names])
        return _within(self._joined[1].with_(positions=torch.from_numpy(positions)), self.cutoff)

    def _is_valid(self, name: int, positions: Float[np.ndarray, "atom 3"]) -> bool:
        """Whether a list exists and no atom has moved by more than half the skin; a position that is not a number has."""
        if name not in self._lists:
            return False
        moved = positions - self._lists[name].positions.numpy()
        return bool(((moved**2).sum(1) <= (0.5 * self.skin) ** 2).all())

    def _make(self, name: int, atoms: Atoms, positions: Float[np.ndarray, "atom 3"]) -> AtomicGraph:
        moved = Atoms(atoms.numbers, positions, cell=atoms.cell, pbc=atoms.pbc)
        graph = graph_from_atoms(moved, numbers=self.numbers, cutoff=self.cutoff + self.skin, where=f"walker {name}")
        keys = np.column_stack([graph.shift.numpy(), graph.neighbor.numpy(), graph.center.numpy()])
        order = torch.from_numpy(np.lexsort(keys.T))
        return graph.with_(center=graph.center[order], neighbor=graph.neighbor[order], shift=graph.shift[order])


def _within(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """The graph without the pairs beyond the cutoff."""
    inside = (graph.edges().distance < cutoff).nonzero()[:, 0]
    center = graph.center[inside]
    before = starts(torch.bincount(center, minlength=graph.n_atoms))
    return graph.with_(
        center=center,
        neighbor=graph.neighbor[inside],
        shift=graph.shift[inside],
        slot=torch.arange(len(center)) - before[center],
        edge_start=before[graph.atom_start],
    )
