"""Stored descriptors: a fixed descriptor is evaluated once per structure and read in every epoch.

A descriptor without trained parameters, under a fixed species embedding, gives the same features G and the same derivatives ∂G/∂r in every
epoch. With both stored, the energy still depends on the geometry (to first order, which is all that forces and stress need):

    dE/dr_ij = Σ_f (∂E/∂G_if) (∂G_if/∂r_ij)

so training costs one small matrix product per edge instead of the descriptor and its backward pass.
"""

from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.descriptor import Descriptor, Pull, linearised
from nnpx.graph import AtomicGraph, Edges

#: atoms whose features are computed together: enough to hide the cost of a call, few enough to stay in the cache
ATOMS_AT_A_TIME: Final = 64


def stored_features(graph: AtomicGraph, edges: Edges) -> Float[Tensor, "atom feature"]:
    """The features stored with the graph, connected to the edge vectors by their stored derivatives."""
    jacobian, blocks = in_place(graph) if graph.jacobian.device.type == "cpu" else gathered(graph)
    place = graph.center * (jacobian.shape[1] // 3) + graph.slot
    features: Tensor = _StoredFeatures.apply(edges.vector, graph.features, jacobian, place, blocks)  # type: ignore[no-untyped-call]  # as torch has it
    return features


def linearised_features(graph: AtomicGraph, edges: Edges) -> tuple[Float[Tensor, "atom feature"], Pull]:
    """The features stored with the graph, and how energies that depend on them pull at the edges."""
    return linearised(lambda variables: stored_features(graph, variables), edges)


#: of each structure: its first row in the stored derivatives, its first atom in the batch, its number of atoms
Blocks = list[tuple[int, int, int]]


def in_place(graph: AtomicGraph) -> tuple[Float[Tensor, "row slot3 feature"], Blocks]:
    """The derivatives of the whole set, and where those of each structure lie: nothing is copied, at the price of a product for each."""
    return graph.jacobian, list(zip(graph.row.tolist(), graph.atom_start[:-1].tolist(), graph.atoms_per_structure().tolist(), strict=True))


def gathered(graph: AtomicGraph) -> tuple[Float[Tensor, "atom slot3 feature"], Blocks]:
    """A copy of the derivatives of these structures as one block: a GPU copies faster than it is told of one product after another."""
    rows = torch.arange(graph.n_atoms, device=graph.row.device) + (graph.row - graph.atom_start[:-1])[graph.owner]
    return graph.jacobian.index_select(0, rows), [(0, 0, graph.n_atoms)]


class _StoredFeatures(torch.autograd.Function):
    """G with a first derivative in the edge vectors; its derivative is itself differentiable in ∂E/∂G, as force training needs."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor, features: Tensor, jacobian: Tensor, place: Tensor, blocks: Blocks) -> Tensor:  # noqa: PLR0917  # torch's
        ctx.save_for_backward(jacobian, place)
        ctx.blocks = blocks
        return features.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        jacobian, place = ctx.saved_tensors
        pull_of_slots: Tensor = _Pull.apply(grads[0][:, None, :], jacobian, ctx.blocks)  # type: ignore[no-untyped-call]  # as torch has it
        return pull_of_slots.reshape(-1, 3).index_select(0, place), None, None, None, None


class _Pull(torch.autograd.Function):
    """(∂E/∂G_i) · (∂G_i/∂r_ij) for the slots of every atom, a row for every energy E; reads the derivatives of the whole set in place."""

    @staticmethod
    def forward(by_feature: Tensor, jacobian: Tensor, blocks: Blocks) -> Tensor:
        # features as rows, which are multiplied twice as fast as columns
        return torch.cat([torch.bmm(by_feature[atom : atom + n], jacobian[row : row + n].mT) for row, atom, n in blocks])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Blocks], output: Tensor) -> None:
        _, jacobian, ctx.blocks = inputs
        ctx.save_for_backward(jacobian)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (jacobian,) = ctx.saved_tensors
        by_feature: Tensor = _PullTransposed.apply(grads[0].contiguous(), jacobian, ctx.blocks)  # type: ignore[no-untyped-call]  # as torch has it
        return by_feature, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, by_feature: Tensor, jacobian: Tensor, blocks: Blocks) -> tuple[Tensor, int]:
        return _with_more_rows(_Pull, in_dims[0], by_feature, jacobian, blocks)


class _PullTransposed(torch.autograd.Function):
    """The adjoint of `_Pull`: from the slots back to the features."""

    @staticmethod
    def forward(pull: Tensor, jacobian: Tensor, blocks: Blocks) -> Tensor:
        return torch.cat([torch.bmm(pull[atom : atom + n], jacobian[row : row + n]) for row, atom, n in blocks])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Blocks], output: Tensor) -> None:
        _, jacobian, ctx.blocks = inputs
        ctx.save_for_backward(jacobian)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (jacobian,) = ctx.saved_tensors
        pull: Tensor = _Pull.apply(grads[0].contiguous(), jacobian, ctx.blocks)  # type: ignore[no-untyped-call]  # as torch has it
        return pull, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, pull: Tensor, jacobian: Tensor, blocks: Blocks) -> tuple[Tensor, int]:
        return _with_more_rows(_PullTransposed, in_dims[0], pull, jacobian, blocks)


def _with_more_rows(function: Any, dim: int, values: Tensor, jacobian: Tensor, blocks: Blocks) -> tuple[Tensor, int]:
    """Several energies at once: theirs are rows too, so that the derivatives are read once for all."""
    rows = values.movedim(dim, 1)  # (atom, energy, row, column)
    product: Tensor = function.apply(rows.flatten(1, 2), jacobian, blocks)
    return product.unflatten(1, rows.shape[1:3]), 1


def is_fixed(*modules: torch.nn.Module) -> bool:
    """Whether none of the modules has a trained parameter, so that what they compute can be stored."""
    return not any(parameter.requires_grad for module in modules for parameter in module.parameters())


def stored_bytes(graph: AtomicGraph, descriptor: Descriptor, dtype: torch.dtype) -> int:
    """Memory that the features and derivatives of a graph take, bytes."""
    rows = graph.n_atoms * (1 + 3 * _n_slots(graph))
    return rows * descriptor.n_features * dtype.itemsize


def store(
    graph: AtomicGraph, descriptor: Descriptor, chemistry: Float[Tensor, "atom channel"], dtype: torch.dtype, *, derivatives: bool
) -> AtomicGraph:
    """The graph with the features of `descriptor` and, where asked for, their derivatives; computed in the graph's own precision.

    A few atoms are evaluated at a time, so that the triplets of a large structure, let alone a large set, are never in memory together.
    """
    n_slots = _n_slots(graph) if derivatives else 0
    features = torch.empty(graph.n_atoms, descriptor.n_features, dtype=dtype)
    jacobian = torch.zeros(graph.n_atoms, 3 * n_slots, descriptor.n_features if derivatives else 0, dtype=dtype)
    of_species = chemistry.new_zeros(int(graph.species.max()) + 1, chemistry.shape[1]).index_copy(0, graph.species, chemistry)
    with torch.no_grad():
        for structures in graph.batches(ATOMS_AT_A_TIME):
            some = graph.select(structures)
            first = int(graph.atom_start[structures[0]])
            for block in some.edges().blocks(ATOMS_AT_A_TIME if descriptor.is_local else some.n_atoms, some.species):
                own = of_species[block.species]
                atoms = slice(first, first + block.n_centers)
                features[atoms] = descriptor(block.edges, own)[: block.n_centers].to(dtype)
                if derivatives:
                    by_slot = jacobian[atoms].view(block.n_centers, n_slots, 3, -1)
                    by_slot[block.edges.center, block.edges.slot] = descriptor.jacobian(block.edges, own).to(dtype)
                first = atoms.stop
    return graph.with_(features=features, jacobian=jacobian, row=graph.atom_start[:-1])


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
            change = torch.func.jvp(lambda vector: descriptor(edges.moved(vector), chemistry), (edges.vector,), (along,))[1]
            jacobian[moved, axis] = change[edges.center[moved]]
    return jacobian
