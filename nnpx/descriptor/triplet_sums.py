"""Sums over two neighbours in one pass: from the pairs of an atom to its angular sums, and from what pulls at these back to the pairs.

As operations of torch every triplet writes dozens of numbers to memory that are read again, many times over. The loops here list the
triplets of a few atoms at a time and read their functions from tables: a few hundred triplets are in memory together. Nothing that is
trained is in them: what a training differentiates, the pulls by the gradients in the sums, is linear, and the derivative of that is a loop
as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.descriptor.expanding import Expanded
from nnpx.descriptor.linear_sums import filled, operations_of, pulls_of
from nnpx.descriptor.tabulated import SOME, Functions, Span, in_float64, reach, tabulate, within
from nnpx.descriptor.triplet_lists import SUM_OF_SIDES, THIRD_SIDE
from nnpx.descriptor.triplet_loops import change, differentiate, expand, pull_back
from nnpx.graph import Edges
from nnpx.speed.eights import EIGHT

#: where the cosine of an angle lies
_COSINES: Final = (-1.0, 1.0)


#: pairs, kind and weight of each neighbour, tables and places, and how many left and right factors there are
ForLoops = tuple[Edges, Tensor, Tensor, list[Tensor], tuple[int, int]]
_Descriptor = TypeVar("_Descriptor", bound=nn.Module)


@dataclass(frozen=True)
class TripletFunctions:
    """What two neighbours add: left ⊗ right with left = side(r_ij) side(r_ik) third and right = cone(cos θ)."""

    side: Functions  #: with the cutoff function
    third: Functions  #: of r_jk or of r_ij + r_ik
    has_third_side: bool  #: whether of r_jk
    cone: Functions

    def tables(self, radius: float, dtype: torch.dtype) -> list[Tensor] | None:
        """Of a side, of the third argument and of the cosine, each with its reach, and what the third argument is; None if one has none."""
        found = []
        for functions, span, end in self._spans(radius):
            table = tabulate(functions, span, dtype)
            if table is None:
                return None
            found += [table, reach(table, span, end)]
        return [*found, torch.tensor([THIRD_SIDE if self.has_third_side else SUM_OF_SIDES])]

    def equals(self, other: "TripletFunctions", radius: float) -> bool:
        """Whether these are the same functions up to the radius (Å), as far as some arguments tell."""
        own, others = self._at_some_arguments(radius), other._at_some_arguments(radius)
        return self.has_third_side == other.has_third_side and all(map(torch.equal, own, others))

    def _spans(self, radius: float) -> list[tuple[Functions, Span, float]]:
        """The functions, each with where its table begins and ends, and the largest argument."""
        furthest = radius if self.has_third_side else 2.0 * radius
        return [(self.side, within(radius), radius), (self.third, within(furthest), furthest), (self.cone, _COSINES, 1.0)]

    def _at_some_arguments(self, radius: float) -> list[Tensor]:
        return [functions(torch.linspace(*span, SOME, dtype=torch.float64)).detach() for functions, span, _ in self._spans(radius)]


@final
class TripletTables:
    """Tables of a descriptor's functions in each precision: made when they are first asked for, and again when its numbers change."""

    def __init__(self) -> None:
        self._kept: dict[torch.dtype, tuple[object, list[Tensor] | None]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": {}}  # the numbers of a copy lie elsewhere

    def of(
        self, descriptor: _Descriptor, functions: Callable[[_Descriptor], TripletFunctions], radius: float, dtype: torch.dtype
    ) -> list[Tensor] | None:
        """Those up to the radius (Å) of the functions that it has; None where something is trained or not smooth enough."""
        made_of = (radius, [(one.data_ptr(), one._version) for one in descriptor.buffers()])
        if dtype not in self._kept or self._kept[dtype][0] != made_of:
            is_fixed = not any(True for _ in descriptor.parameters())
            self._kept[dtype] = (made_of, functions(in_float64(descriptor)).tables(radius, dtype) if is_fixed else None)
        return self._kept[dtype][1]


def triplet_sums(
    edges: Edges, kind: Int[Tensor, " edge"], weight: Float[Tensor, " edge"], basis: list[Tensor], shape: tuple[int, int]
) -> Expanded:
    """S_i = Σ_{j<k} w_j w_k left ⊗ right of every atom and pair of kinds of its neighbours, on a processor.

    Args:
        edges: the pairs.
        kind: of each neighbour.
        weight: w of each neighbour.
        basis: `TripletFunctions.tables`, and of every two kinds the place among the sums of an atom, or −1.
        shape: how many left and right factors there are.
    """
    pairs, of_sums = _pairs(edges, kind, weight), [int(basis[7].max()) + 1, *shape]  # of one atom
    sums = SUMS(pairs, basis, of_sums)

    def pull(gradients: tuple[Tensor, ...]) -> Tensor:
        return pulls_of(gradients[0].reshape(-1, *sums.shape), (PULLS, CHANGES), pairs, basis, of_sums)

    return Expanded((sums.flatten(1)[None],), pull)


def triplet_jacobian(
    edges: Edges, kind: Int[Tensor, " edge"], weight: Float[Tensor, " edge"], basis: list[Tensor], shape: tuple[int, int]
) -> Float[Tensor, "edge 3 pair left right"]:
    """∂S_i/∂r_ij of every edge, with the arguments of `triplet_sums`."""
    pairs, n_right = _pairs(edges, kind, weight), shape[1] + -shape[1] % EIGHT
    jacobian = edges.vector.new_empty(len(edges.center), 3, int(basis[7].max()) + 1, shape[0], n_right)
    return filled(differentiate, jacobian, pairs, basis)[..., : shape[1]]


def _pairs(edges: Edges, kind: Int[Tensor, " edge"], weight: Float[Tensor, " edge"]) -> list[Tensor]:
    start = torch.searchsorted(edges.center, torch.arange(edges.n_atoms + 1))
    return [edges.vector.detach(), edges.distance.detach(), weight.detach(), kind, start]


#: S of pairs (vector, distance, weight, kind, start of every atom's), from tables and places, with the way back and its transpose
SUMS, PULLS, CHANGES = operations_of("triplet", (expand, pull_back, change), lambda n_atoms, of_atom: (n_atoms, *of_atom))
