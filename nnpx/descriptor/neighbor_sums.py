"""Neighbour densities in one pass: from the vectors of an atom's pairs to its moments, and from what pulls at these back to the pairs.

As operations of torch an expanded density writes dozens of numbers per pair to memory and reads them again, many times over. The loops
here take some atoms at a time, which stay in the nearest cache, and radial functions from a table. Nothing that is trained is in them: what
a training differentiates, the pulls by the gradients in the moments, is linear, and the derivative of that is a loop as well.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.descriptor.expanding import Expanded
from nnpx.descriptor.harmonics import Harmonics
from nnpx.descriptor.linear_sums import operations_of, pulls_of
from nnpx.descriptor.neighbor_loops import change, expand, pull_back
from nnpx.descriptor.tabulated import BEGIN, END, SOME, Functions, in_float64, reach, tabulate, within
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.speed.compiled import may_use_loops


@final
class NeighborSums:
    """B_i = Σ_j s_ij^c φ_k(r_ij) f_c(r_ij) Y_lm(r̂_ij) of every atom, on a processor.

    A distance that is NaN or infinite has a B that is NaN.

    Args:
        radial: φ_k, of the distance times `squeeze`.
        cutoff: f_c, with its radius.
        harmonics: Y_lm.
        squeeze: by which distances are multiplied for φ_k.
        factor: by which φ_k is multiplied.
    """

    def __init__(self, radial: Radial, cutoff: Cutoff, harmonics: Harmonics, *, squeeze: float = 1.0, factor: float = 1.0) -> None:
        self._radial, self._cutoff, self._harmonics, self._squeeze, self._factor = radial, cutoff, harmonics, squeeze, factor
        self._kept: dict[torch.dtype, tuple[object, list[Tensor] | None]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}  # the numbers of a copy lie elsewhere

    def basis(self, dtype: torch.dtype) -> list[Tensor] | None:
        """φ_k f_c as a table and where it reaches, and Y_lm from monomials; None where φ_k or f_c is trained or not smooth enough."""
        modules = (self._radial, self._cutoff)
        made_of = (self._cutoff.radius, [(one.data_ptr(), one._version) for module in modules for one in module.buffers()])
        if dtype not in self._kept or self._kept[dtype][0] != made_of:
            is_fixed = not any(True for module in modules for _ in module.parameters())
            span = within(self._cutoff.radius)
            table = tabulate(self._functions(), span, dtype) if is_fixed else None
            basis = None if table is None else [table, reach(table, span, self._cutoff.radius), *self._harmonics.as_terms(dtype)]
            self._kept[dtype] = (made_of, basis)
        return self._kept[dtype][1]

    def expanded(self, edges: Edges, weight: Float[Tensor, "edge channel"]) -> Expanded | None:
        """B of the pairs, whose terms are pairs of k and c; None where loops are not to be used, on a GPU, or without `basis`."""
        basis = self.basis(edges.vector.dtype) if may_use_loops() and edges.vector.device.type == "cpu" else None
        if basis is None:
            return None
        start = torch.searchsorted(edges.center, torch.arange(edges.n_atoms + 1))
        pairs = [edges.vector.detach(), edges.distance.detach(), weight.detach(), start]
        shape = [basis[2].shape[1], self._radial.n_functions * weight.shape[1]]  # as many components as monomials
        sums = SUMS(pairs, basis, shape)
        return Expanded((sums,), lambda gradients: pulls_of(gradients[0], (PULLS, CHANGES), pairs, basis, shape))

    def equals(self, other: "NeighborSums") -> bool:
        """Whether these are the same functions, as far as some distances tell."""
        are_alike = self._cutoff.radius == other._cutoff.radius and self._harmonics.l_max == other._harmonics.l_max
        return are_alike and torch.equal(self._at_some_distances(), other._at_some_distances())

    def _at_some_distances(self) -> Float[Tensor, "edge function"]:
        return self._functions()(self._cutoff.radius * torch.linspace(BEGIN, END, SOME, dtype=torch.float64)).detach()

    def _functions(self) -> Functions:
        """φ_k f_c in float64."""
        radial, cutoff = in_float64(self._radial), in_float64(self._cutoff)
        return lambda distance: radial(distance * self._squeeze) * (self._factor * cutoff(distance))[:, None]


def side_by_side(*densities: Expanded | None) -> Expanded | None:
    """Several as one; None if one is missing."""
    known = [one for one in densities if one is not None]
    if len(known) < len(densities):
        return None
    sums = tuple(own for one in known for own in one.sums)
    return Expanded(sums, lambda gradients: reduce(torch.add, (one.pull((own,)) for one, own in zip(known, gradients, strict=True))))


def _shape(n_atoms: int, of_atom: Sequence[int]) -> tuple[int, int, int]:
    n_components, n_terms = of_atom
    return n_components, n_atoms, n_terms


#: B of pairs (vector, distance, weight, start of every atom's), from the basis of φ_k f_c and Y_lm, with the way back and its transpose
SUMS, PULLS, CHANGES = operations_of("neighbor", (expand, pull_back, change), _shape)
