"""Neighbour lists that last for several steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from nnpx.errors import ConfigError
from nnpx.graph import AtomicGraph, Edges, join
from nnpx.neighbors import graph_from_atoms, volume_of
from nnpx.speed.loops import Loop
from nnpx.structures import TOO_CLOSE, checked_cell

_CPU: Final = torch.device("cpu")
#: neighbours are sought farther by this part, so that rounding does not leave out one that is as far as the cutoff
_SLACK: Final = 1e-9

#: (pair,), (pair,), (pair, 3): i, j and S
_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Listed:
    """A structure, its pairs as they were listed, and what has become of its cell."""

    atoms: Atoms  #: when its pairs were listed
    cell: Float[np.ndarray, "3 3"]  #: then, h₀, completed where it is open, Å
    graph: AtomicGraph  #: with all pairs, in the cell of today
    given: Float[np.ndarray, "3 3"]  #: the cell of today as its owner has it, Å
    strain: Float[np.ndarray, "3 3"]  #: h₀⁻¹ h
    stretch: float  #: the least that the strain stretches anything by


@final
class SkinList:
    """The graph of several structures that move, with neighbours searched anew only when they may have changed.

    Neighbours are listed a skin farther than the cutoff (Verlet 1967, doi:10.1103/PhysRev.159.98). When the cell h₀ has become h, two atoms
    that are not listed are still at least

        σ_min (cutoff + skin) − 2 max_i |r_i − r_i⁰ h₀⁻¹ h|

    apart, with the smallest singular value σ_min of h₀⁻¹ h. Pairs beyond the cutoff are left out of the graph and the others sorted, so a
    graph is a function of the structures alone: the same, in the same order, as from lists that were made for them.

    Args:
        numbers: atomic numbers that the potential knows.
        cutoff: radius of the graph, Å.
        skin: Å.
        dtype: precision of the graph; pairs and their vectors are found in float64.
        device: where the graph is to be.

    Raises:
        ConfigError: the skin is no length.
    """

    def __init__(
        self, *, numbers: Sequence[int], cutoff: float, skin: float, dtype: torch.dtype = torch.float64, device: torch.device = _CPU
    ) -> None:
        if not (isinstance(skin, float | int) and math.isfinite(skin) and skin >= 0.0):
            do = "Choose 0.5, or 0 to list neighbours anew in every evaluation."
            raise ConfigError("skin", expected="a length of at least 0 Å", found=repr(skin), do=do)
        self.numbers, self.cutoff, self.skin, self.dtype, self.device = numbers, cutoff, skin, dtype, device
        self._lists: dict[str, _Listed] = {}
        self._joined: tuple[AtomicGraph, AtomicGraph] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """A copy has no lists: it makes its own."""
        words: dict[str, Any] = {"numbers": self.numbers, "cutoff": self.cutoff, "skin": self.skin}
        return partial(SkinList, **words, dtype=self.dtype, device=self.device), ()

    def graph(self, structures: Mapping[str, Atoms], positions: Float[np.ndarray, "atom 3"]) -> tuple[AtomicGraph, Edges]:
        """The structures at new positions, and their edges, which share tensors with the lists: nobody may write to them.

        A list is kept until its structure is missing in a call.

        Args:
            structures: elements and cells, by a name that stands for the structure in every call, and in errors.
            positions: of all of them, in their order, Å.

        Raises:
            SpeciesError: an element is not among `numbers`.
            GeometryError: positions are not finite, atoms coincide, a cell makes no sense, or the pairs would not fit into the memory.
        """
        ends = np.cumsum([len(atoms) for atoms in structures.values()])[:-1]
        now = dict(zip(structures, np.split(positions, ends), strict=True))
        lists = {name: self._lasting(name, atoms, now[name]) or self._made(name, atoms, now[name]) for name, atoms in structures.items()}
        if self._joined is None or list(lists.items()) != list(self._lists.items()):
            graphs = [one.graph for one in lists.values()]
            joined = graphs[0] if len(graphs) == 1 else join(graphs)
            self._lists, self._joined = lists, (joined, joined.cast(self.dtype))
        graph, edges = _within(*self._joined, np.ascontiguousarray(positions), self.cutoff)
        if len(edges.distance) > 0 and edges.distance.amin() < TOO_CLOSE:
            for name, atoms in structures.items():  # the search in one of them says which, unless only rounding made them so close
                self._made(name, atoms, now[name])
        if self.device == _CPU:
            return graph, edges
        graph, moved = graph.to(self.device), (edges.vector.to(self.device), edges.distance.to(self.device))
        return graph, Edges(graph.center, graph.neighbor, graph.shift, *moved, graph.n_atoms)

    def _lasting(self, name: str, atoms: Atoms, positions: Float[np.ndarray, "atom 3"]) -> _Listed | None:
        """The list that there is, unless a pair may be missing in it; a position that is not a number has moved too far."""
        kept = self._lists.get(name)
        if kept is None or not (np.array_equal(kept.atoms.numbers, atoms.numbers) and np.array_equal(kept.atoms.pbc, atoms.pbc)):
            return None
        if not np.array_equal(kept.given, atoms.cell.array):
            kept = _strained(kept, atoms, name)
        with np.errstate(over="ignore"):
            farthest = np.sqrt(((positions - kept.atoms.positions @ kept.strain) ** 2).sum(1).max())
        least = kept.stretch * (self.cutoff + self.skin) - 2.0 * farthest
        return kept if least >= self.cutoff else None

    def _made(self, name: str, atoms: Atoms, positions: Float[np.ndarray, "atom 3"]) -> _Listed:
        """A new list."""
        moved = Atoms(atoms.numbers, positions, cell=atoms.cell, pbc=atoms.pbc)
        graph = graph_from_atoms(moved, numbers=self.numbers, cutoff=(self.cutoff + self.skin) * (1.0 + _SLACK), where=name)
        neighbor, shift = torch.empty_like(graph.neighbor), torch.empty_like(graph.shift)
        start = np.searchsorted(graph.center.numpy(), np.arange(len(moved) + 1))
        _turn_around((neighbor.numpy(), shift.numpy()), (graph.neighbor.numpy(), graph.shift.numpy()), start)
        return _Listed(
            atoms=moved,
            cell=graph.cell[0].numpy(),
            graph=graph.with_(neighbor=neighbor, shift=shift),
            given=moved.cell.array.copy(),
            strain=np.eye(3),
            stretch=1.0,
        )


def _strained(listed: _Listed, atoms: Atoms, name: str) -> _Listed:
    """The same list in another cell."""
    cell = checked_cell(atoms, where=name)
    strain = np.linalg.solve(listed.cell, cell) if atoms.pbc.any() else np.eye(3)
    graph = listed.graph.with_(cell=torch.from_numpy(cell[None]), volume=torch.from_numpy(np.array([volume_of(cell, atoms.pbc)])))
    stretch = float(np.linalg.svd(strain, compute_uv=False)[-1])
    return replace(listed, graph=graph, given=atoms.cell.array.copy(), strain=strain, stretch=stretch)


def _within(listed: AtomicGraph, frame: AtomicGraph, positions: Float[np.ndarray, "atom 3"], cutoff: float) -> tuple[AtomicGraph, Edges]:
    """What is listed without the pairs beyond the cutoff, in the precision of the frame, which is the same graph."""
    n_listed, n_atoms = len(listed.center), listed.n_atoms
    vector, shift, distance = frame.shift.new_empty(n_listed, 3), frame.shift.new_empty(n_listed, 3), frame.shift.new_empty(n_listed)
    center, neighbor, slot = (listed.center.new_empty(n_listed) for _ in range(3))
    start = listed.center.new_empty(n_atoms + 1)
    found = _choose(
        (vector.numpy(), distance.numpy(), shift.numpy()),
        (center.numpy(), neighbor.numpy(), slot.numpy(), start.numpy()),
        (listed.center.numpy(), listed.neighbor.numpy(), listed.shift.numpy()),
        (positions, listed.cell.numpy(), listed.owner.numpy()),
        float(cutoff),
    )
    edges = Edges(center[:found], neighbor[:found], shift[:found], vector[:found], distance[:found], n_atoms)
    graph = frame.with_(
        positions=torch.tensor(positions, dtype=frame.shift.dtype),
        center=edges.center,
        neighbor=edges.neighbor,
        shift=edges.shift,
        slot=slot[:found],
        edge_start=start[frame.atom_start],
    )
    return graph, edges


@partial(Loop, may_reorder=False)  # or a pair might be seen from one of its ends only
def _choose(
    chosen: tuple[np.ndarray, np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    listed: _Pairs,
    now: tuple[np.ndarray, np.ndarray, np.ndarray],
    cutoff: float,
) -> int:
    """Vector, distance and image, centre, neighbour and slot of the pairs within the cutoff, where those of each atom begin; how many."""
    (vectors, distances, images), (center, neighbor, slot, start) = chosen, places
    (centers, neighbors, shift), (positions, cell, owner) = listed, now
    found, atom = 0, 0
    start[0] = 0
    for pair in range(len(centers)):
        i, j = np.uint64(centers[pair]), np.uint64(neighbors[pair])
        while atom < centers[pair]:
            atom += 1
            start[atom] = found
        own, u, v, w = np.uint64(owner[i]), shift[pair, 0], shift[pair, 1], shift[pair, 2]
        x = (positions[j, 0] - positions[i, 0]) + (u * cell[own, 0, 0] + v * cell[own, 1, 0] + w * cell[own, 2, 0])
        y = (positions[j, 1] - positions[i, 1]) + (u * cell[own, 0, 1] + v * cell[own, 1, 1] + w * cell[own, 2, 1])
        z = (positions[j, 2] - positions[i, 2]) + (u * cell[own, 0, 2] + v * cell[own, 1, 2] + w * cell[own, 2, 2])
        square = x * x + y * y + z * z
        # written in any case, and written over by the next one if it is too far
        vectors[found, 0], vectors[found, 1], vectors[found, 2], distances[found] = x, y, z, np.sqrt(square)
        images[found, 0], images[found, 1], images[found, 2] = u, v, w
        center[found], neighbor[found], slot[found] = centers[pair], neighbors[pair], found - start[atom]
        found += 1 if square < cutoff * cutoff else 0
    start[atom + 1 :] = found
    return found


@Loop
def _turn_around(turned: tuple[np.ndarray, np.ndarray], listed: tuple[np.ndarray, np.ndarray], start: np.ndarray) -> None:
    """The pairs seen from the other end: sorted by their centres before, they come sorted by their neighbours, and then by their images.

    Those of one neighbour are taken from the last to the first, as the search has mostly sorted their images, and −S begins with the last.
    """
    (neighbor, shift), (neighbors, shifts) = turned, listed
    free = start.copy()
    for center in range(len(start) - 1):
        for pair in range(start[center + 1] - 1, start[center] - 1, -1):
            begin, place = start[neighbors[pair]], free[neighbors[pair]]
            free[neighbors[pair]] += 1
            u, v, w = 0.0 - shifts[pair, 0], 0.0 - shifts[pair, 1], 0.0 - shifts[pair, 2]
            while place > begin and neighbor[place - 1] == center:
                a, b, c = shift[place - 1, 0], shift[place - 1, 1], shift[place - 1, 2]
                if a < u or (a == u and (b < v or (b == v and c < w))):
                    break
                neighbor[place], shift[place, 0], shift[place, 1], shift[place, 2] = neighbor[place - 1], a, b, c
                place -= 1
            neighbor[place], shift[place, 0], shift[place, 1], shift[place, 2] = center, u, v, w
