"""Which products of moments are rotation-invariant, and which of them say something new."""

from itertools import combinations_with_replacement, pairwise
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nnpx.descriptor.harmonics import block, couplings, gaunt

#: below this part of its length an invariant counts as a combination of those before it
_INDEPENDENT: Final = 1e-6
#: random moments on which independence is decided
_SAMPLES: Final = 400
#: angular momenta a and b that couple to c
Couples = list[tuple[int, int, int]]
#: (rows of the first factor, rows of the second, name)
_Invariant = tuple[range, range, str]


@final
class Products:
    """Invariants of degree 2, 3 and 4 in the moments A_lm of one density, as two rounds of products.

        X^{ab→c}_k = Σ_ij G^{abc}_ijk A_ai A_bj                  tensors = [A, X],   X = coupling · (A[pair₀] ∘ A[pair₁])
        A_l·A_l,   X^{ab→c}·A_c,   X^{ab→c}·X^{de→c}             scalars = gather · (tensors[term₀] ∘ tensors[term₁])

    An invariant that is a linear combination of earlier ones and of products A_l·A_l A_k·A_k is left out; which these are is found on
    random moments.

    Args:
        l_max: highest angular momentum.
        max_body_order: one more than the highest degree.
        couples: the (a, b, c) of X, all there are if not given.

    Attributes:
        names: what each scalar is.
    """

    def __init__(self, l_max: int, max_body_order: int, couples: Couples | None = None) -> None:
        couples = (couplings(l_max) if couples is None else couples) if max_body_order > 3 else []
        self.pair, self.coupling = _bilinear(couples)
        invariants = _candidates(l_max, couples, max_body_order)
        self.term, self.gather = _scalar_products(invariants)
        kept = _independent(self.scalars(_random_moments(l_max)), [max_body_order > 2 and k < l_max for k in range(len(invariants))])
        invariants = [one for one, keep in zip(invariants, kept, strict=True) if keep]
        self.term, self.gather = _scalar_products(invariants)
        self.names = [name for _, _, name in invariants]

    def scalars(self, moments: Float[Tensor, "component column"]) -> Float[Tensor, "invariant column"]:
        """The invariants of moments, one set in each column."""
        tensors = torch.cat([moments, self.coupling @ (moments[self.pair[0]] * moments[self.pair[1]])])
        return self.gather @ (tensors[self.term[0]] * tensors[self.term[1]])


def _candidates(l_max: int, couples: Couples, max_body_order: int) -> list[_Invariant]:
    """All A_l·A_l, then all X·A, then all X·X that the body order allows."""
    bounds = np.cumsum([(l_max + 1) ** 2, *(2 * c + 1 for _, _, c in couples)]).tolist()
    rows, names = [range(*ends) for ends in pairwise(bounds)], [f"(A{a}A{b}→{c})" for a, b, c in couples]
    own = [range(block(order).start, block(order).stop) for order in range(l_max + 1)]
    squares = [(own[n], own[n], f"A{n}·A{n}") for n in range(1, l_max + 1)] if max_body_order > 2 else []
    cubes = [(rows[k], own[c], f"{names[k]}·A{c}") for k, (_, b, c) in enumerate(couples) if b <= c]
    both = combinations_with_replacement(range(len(couples)), 2) if max_body_order > 4 else []
    fourths = [(rows[j], rows[k], f"{names[j]}·{names[k]}") for j, k in both if couples[j][2] == couples[k][2]]
    return [*squares, *cubes, *fourths]


def _bilinear(couples: Couples) -> tuple[Int[Tensor, "2 pair"], Float[Tensor, "coupled pair"]]:
    """Pairs of components, and the matrix that takes their products to the components of all X."""
    columns: dict[tuple[int, int], int] = {}
    entries, row = [], 0
    for a, b, c in couples:
        tensor = gaunt(a, b, c)
        for i, j, k in np.argwhere(tensor).tolist():
            first, second = sorted((block(a).start + i, block(b).start + j))
            entries.append((row + k, columns.setdefault((first, second), len(columns)), float(tensor[i, j, k])))
        row += 2 * c + 1
    matrix = torch.zeros(row, len(columns), dtype=torch.float64)
    for k, column, value in entries:
        matrix[k, column] += value
    return torch.tensor(list(columns), dtype=torch.long).reshape(-1, 2).T.contiguous(), matrix


def _scalar_products(invariants: list[_Invariant]) -> tuple[Int[Tensor, "2 term"], Float[Tensor, "invariant term"]]:
    """Rows that are multiplied, and the matrix that adds them up to invariants."""
    pairs = [pair for first, second, _ in invariants for pair in zip(first, second, strict=True)]
    owner = [k for k, (first, _, _) in enumerate(invariants) for _ in first]
    matrix = torch.zeros(len(invariants), len(pairs), dtype=torch.float64)
    matrix[owner, torch.arange(len(pairs))] = 1.0
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T.contiguous(), matrix


def _random_moments(l_max: int) -> Float[Tensor, "component sample"]:
    return torch.randn((l_max + 1) ** 2, _SAMPLES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _independent(scalars: Float[Tensor, "invariant sample"], is_square: list[bool]) -> list[bool]:
    """For each invariant, whether it is no combination of earlier ones and of products of two squares."""
    values = scalars.numpy()
    squares = [value for value, known in zip(values, is_square, strict=True) if known]
    span = [one * other for one, other in combinations_with_replacement(squares, 2)]
    basis = np.linalg.qr(np.stack(span, 1))[0] if span else np.zeros((values.shape[1], 0))
    kept = []
    for value in values:
        rest = value - basis @ (basis.T @ value)
        rest = rest - basis @ (basis.T @ rest)
        kept.append(bool(np.linalg.norm(rest) > _INDEPENDENT * np.linalg.norm(value)))
        if kept[-1]:
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    return kept
