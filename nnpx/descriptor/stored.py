"""Stored descriptors: a fixed descriptor is evaluated once per structure and read in every epoch.

A descriptor without trained parameters, under a fixed species embedding, gives the same features G and the same derivatives ∂G/∂r in every
epoch. With both stored, forces and stress, which need no more than a first derivative, follow from the slopes of the energy in G:

    dE/dr_ij = Σ_f (∂E/∂G_if) (∂G_if/∂r_ij)

so training costs one small sum per edge instead of the descriptor and its backward pass. What is zero for all neighbours of an element,
as a symmetry function of two other elements is, is not stored.
"""

import math
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.derivatives import forward_derivative
from nnpx.descriptor import Descriptor, Pull
from nnpx.descriptor.pulls import Pairs, pull_at_pairs
from nnpx.graph import AtomicGraph, Edges
from nnpx.speed.threads import for_loops

#: atoms whose features are computed together: enough to hide the cost of a call, few enough to stay in the cache
ATOMS_AT_A_TIME: Final = 64


def pairs_of(graph: AtomicGraph) -> Pairs:
    """Those of some structures of a set.

    Raises:
        ValueError: the features were stored without their derivatives.
    """
    if len(graph.felt) == 0 and len(graph.center) > 0:
        raise ValueError("the features of this graph were stored without their derivatives, which forces need: store(…, derivatives=True)")
    row = torch.arange(graph.n_atoms, device=graph.row.device) + (graph.row - graph.atom_start[:-1]).index_select(0, graph.owner)
    return Pairs(
        jacobian=graph.jacobian.flatten(0, 1),
        place=row.index_select(0, graph.center) * graph.jacobian.shape[1] + graph.slot,
        center=graph.center,
        kind=graph.species.index_select(0, graph.neighbor),
        felt=graph.felt,
        n_atoms=graph.n_atoms,
        n_features=graph.features.shape[1],
    )


def pull_of_stored(graph: AtomicGraph) -> Pull:
    """How energies that depend on the features stored with the graph pull at its edges; differentiable in their slopes."""
    pairs = pairs_of(graph)
    return lambda slopes: pull_at_pairs(slopes.transpose(0, 1), pairs).transpose(0, 1)


def is_fixed(*modules: torch.nn.Module) -> bool:
    """Whether none of the modules has a trained parameter, so that what they compute can be stored."""
    return not any(parameter.requires_grad for module in modules for parameter in module.parameters())


class TooLargeError(Exception):
    """What is to be stored takes more memory than it may."""


def store(
    graph: AtomicGraph,
    descriptor: Descriptor,
    chemistry: Float[Tensor, "atom channel"],
    dtype: torch.dtype,
    *,
    derivatives: bool,
    most_bytes: int | float = math.inf,
) -> AtomicGraph:
    """The graph with the features of `descriptor` and, where asked for, their derivatives; computed in the graph's own precision.

    A few atoms are evaluated at a time, so that the triplets of a large structure, let alone a large set, are never in memory together.

    Raises:
        TooLargeError: features and derivatives take more memory than `most_bytes`; as soon as that is known.
        OutOfMemoryError: those of a few atoms do not fit into what is free.
    """
    features = torch.empty(graph.n_atoms, descriptor.n_features, dtype=dtype)
    of_species = chemistry.new_zeros(int(graph.species.max()) + 1, chemistry.shape[1]).index_copy(0, graph.species, chemistry)
    found = _Derivatives(graph, len(of_species), descriptor.n_features, dtype)
    with torch.no_grad(), for_loops():
        for structures in graph.batches(ATOMS_AT_A_TIME):
            some = graph.select(structures)
            first = int(graph.atom_start[structures[0]])
            for block in some.edges().blocks(ATOMS_AT_A_TIME if descriptor.is_local else some.n_atoms, some.species):
                descriptor.refuse_beyond_memory(block.edges, block.n_centers, derivatives=derivatives)
                own = of_species[block.species]
                features[first : first + block.n_centers] = descriptor(block.edges, own)[: block.n_centers].to(dtype)
                first += block.n_centers
                if derivatives:
                    found.add(descriptor.jacobian(block.edges, own).to(dtype), block.species[block.edges.neighbor])
                    if found.n_bytes + features.nbytes > most_bytes:
                        raise TooLargeError
    jacobian, felt = found.by_slot() if derivatives else (graph.jacobian.to(dtype), graph.felt)
    return graph.with_(features=features, jacobian=jacobian, felt=felt, row=graph.atom_start[:-1])


@final
class _Derivatives:
    """Derivatives of the pairs of a graph, one after the other, without those of features that do not feel a neighbour of its species.

    Args:
        graph: whose pairs they are.
        n_species: how many species there are.
        n_features: how many features.
        dtype: precision in which they are kept.
    """

    def __init__(self, graph: AtomicGraph, n_species: int, n_features: int, dtype: torch.dtype) -> None:
        self._shape, self._dtype = (graph.n_atoms, _n_slots(graph), 3), dtype
        self._place = graph.center * self._shape[1] + graph.slot
        self._feels = torch.zeros(n_species, n_features, dtype=torch.bool)
        self._felt: list[list[int]] = [[] for _ in range(n_species)]  # in the order in which it was found, so that none moves
        self._parts: list[Tensor] = []

    @property
    def _n_kept(self) -> int:
        return max(map(len, self._felt))

    @property
    def n_bytes(self) -> int:
        """Memory that all derivatives take, with what is known so far of the features that feel a neighbour."""
        return math.prod(self._shape) * self._n_kept * self._dtype.itemsize

    def add(self, jacobian: Float[Tensor, "edge 3 feature"], kind: Int[Tensor, " edge"]) -> None:
        """Those of the pairs that follow, with the species of the neighbours."""
        feels = torch.zeros(self._feels.shape).index_add(0, kind, (jacobian != 0).any(1).float()) > 0
        for species, feature in (feels & ~self._feels).nonzero().tolist():
            self._felt[species].append(feature)
        self._feels = self._feels | feels
        filled = torch.arange(self._n_kept) < torch.tensor([len(one) for one in self._felt])[:, None]
        kept = jacobian.gather(2, self._table()[kind][:, None].expand(-1, 3, -1))
        self._parts.append(kept * filled[kind][:, None])

    def by_slot(self) -> tuple[Float[Tensor, "atom slot 3 kept"], Int[Tensor, "species kept"]]:
        """All of them by centre and slot, and the features by species; where a species is felt by fewer, zeros of the first feature."""
        # NumPy's zeros take memory only once they are written to
        jacobian = torch.from_numpy(np.zeros((self._shape[0] * self._shape[1], 3, self._n_kept), str(self._dtype).removeprefix("torch.")))
        end = len(self._place)
        while self._parts:
            part = self._parts.pop()
            jacobian[self._place[end - len(part) : end], :, : part.shape[2]] = part
            end -= len(part)
        return jacobian.view(*self._shape, self._n_kept), self._table()

    def _table(self) -> Int[Tensor, "species kept"]:
        rows = [one + [0] * (self._n_kept - len(one)) for one in self._felt]
        return torch.tensor(rows, dtype=torch.long).view(len(rows), self._n_kept)


def _n_slots(graph: AtomicGraph) -> int:
    """The largest number of neighbours of any atom."""
    return int(graph.slot.max()) + 1 if len(graph.slot) else 0


def jacobian_by_slots(descriptor: Descriptor, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
    """∂G_i/∂r_ij of any local descriptor by forward differentiation.

    The features of atom i depend on its own edges only, so the n-th edge of every atom can be moved at once: three forward passes per slot.
    """
    slot = edges.slot
    jacobian = edges.vector.new_zeros(len(edges.center), 3, descriptor.n_features)
    for n in range(int(slot.max()) + 1 if len(slot) else 0):
        moved = (slot == n).nonzero()[:, 0]
        for axis in range(3):
            along = torch.zeros_like(edges.vector)
            along[moved, axis] = 1.0
            change = forward_derivative(lambda vector: descriptor(edges.moved(vector), chemistry), edges.vector, along)[1]
            jacobian[moved, axis] = change[edges.center[moved]]
    return jacobian
