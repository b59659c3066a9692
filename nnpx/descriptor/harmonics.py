"""Real spherical harmonics as polynomials, and the numbers that couple three of them to a scalar."""

import math
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

#: the coefficient of every x^a y^b z^c with c ≤ 1
_Polynomial = dict[tuple[int, int, int], Fraction]


def harmonics(unit: Float[Tensor, "edge 3"], l_max: int) -> Float[Tensor, "edge component"]:
    """Y_lm of unit vectors for l = 0 … l_max, ordered by l and m = −l … l, normalised so that Σ_m Y_lm² = 1 for every l.

        Y_lm = N_lm Q_l^|m|(z) · { √2 Im (x+iy)^|m| for m < 0,  1 for m = 0,  √2 Re (x+iy)^m for m > 0 },   N_lm² = (l−|m|)! / (l+|m|)!

    Q_l^m(z) = P_l^m(z) / (1−z²)^{m/2} follows by its recursion in l from Q_m^m = (2m−1)!!: polynomials all the way, without a
    trigonometric function and without a pole (Bigi et al. 2023, doi:10.1063/5.0156307).
    """
    x, y, z = unit.unbind(-1)
    real, imaginary = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(l_max):
        real.append(x * real[-1] - y * imaginary[-1])
        imaginary.append(x * imaginary[-1] + y * real[-2])
    columns: dict[tuple[int, int], Tensor] = {}
    for m in range(l_max + 1):
        legendre = [torch.full_like(z, float(math.prod(range(2 * m - 1, 0, -2))))]
        for order in range(m + 1, l_max + 1):
            before = legendre[-2] * (order + m - 1) if order > m + 1 else 0.0
            legendre.append(((2 * order - 1) * z * legendre[-1] - before) / (order - m))
        for order in range(m, l_max + 1):
            scale = math.sqrt((2 if m else 1) * math.factorial(order - m) / math.factorial(order + m))
            columns[order, m] = scale * legendre[order - m] * real[m]
            columns[order, -m] = scale * legendre[order - m] * (imaginary[m] if m else real[m])
    return torch.stack([columns[order, m] for order in range(l_max + 1) for m in range(-order, order + 1)], dim=-1)


@cache
def _monomials(l_max: int) -> list[list[tuple[int, int]]]:
    """x^a y^b z^c with c ≤ 1 of every degree up to l_max, each as a monomial of the degree before and the axis it is multiplied by."""
    before, steps = [(0, 0, 0)], []
    for degree in range(1, l_max + 1):
        step = []
        for a, b, c in (new := _of_degree(degree)):
            parent, axis = ((a - 1, b, c), 0) if a else ((a, b - 1, c), 1) if b else ((a, b, c - 1), 2)
            step.append((before.index(parent), axis))
        steps.append(step)
        before = new
    return steps


@cache
def _matrix(l_max: int) -> Float[Tensor, "monomial component"]:
    """The coefficients of Y_lm in these monomials, by the recursions of `harmonics` in exact fractions: the same bits in every process."""
    rows = {powers: row for row, powers in enumerate(_powers(l_max))}
    matrix = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    real: _Polynomial = {(0, 0, 0): Fraction(1)}
    imaginary: _Polynomial = {}
    for m in range(l_max + 1):
        for sign, start in ((1, real), (-1, imaginary)) if m else ((1, real),):
            before, now = {}, _sum((start, math.prod(range(2 * m - 1, 0, -2))))
            for order in range(m, l_max + 1):
                scale = math.sqrt(Fraction((2 if m else 1) * math.factorial(order - m), math.factorial(order + m)))
                for powers, factor in now.items():
                    matrix[rows[powers], order * (order + 1) + sign * m] = scale * float(factor)
                next_to_m = order + 1 - m
                rising, falling = Fraction(2 * order + 1, next_to_m), Fraction(-(order + m), next_to_m)
                before, now = now, _sum((_times(2, now), rising), (before, falling))
        real, imaginary = (
            _sum((_times(0, real), 1), (_times(1, imaginary), -1)),
            _sum((_times(0, imaginary), 1), (_times(1, real), 1)),
        )
    return matrix


def _powers(l_max: int) -> list[tuple[int, int, int]]:
    """(a, b, c) of every monomial, in their order."""
    return [powers for degree in range(l_max + 1) for powers in _of_degree(degree)]


def _of_degree(degree: int) -> list[tuple[int, int, int]]:
    return [(a, degree - a - c, c) for c in (0, 1) for a in range(degree - c, -1, -1)]


def _times(axis: int, polynomial: _Polynomial) -> _Polynomial:
    """The product with x, y or z."""
    product: _Polynomial = {}
    for powers, factor in polynomial.items():
        a, b, c = (power + (k == axis) for k, power in enumerate(powers))
        # z² = 1 − x² − y²
        terms = [((a, b, c), factor)] if c < 2 else [((a, b, 0), factor), ((a + 2, b, 0), -factor), ((a, b + 2, 0), -factor)]
        for reduced, summand in terms:
            product[reduced] = product.get(reduced, Fraction(0)) + summand
    return product


def _sum(*weighted: tuple[_Polynomial, Fraction | int]) -> _Polynomial:
    """Σ factor · polynomial."""
    total: _Polynomial = {}
    for polynomial, weight in weighted:
        for powers, factor in polynomial.items():
            total[powers] = total.get(powers, Fraction(0)) + weight * factor
    return total


@final
class Harmonics(nn.Module):
    """`harmonics` in a few operations on wide arrays.

    The monomials x^a y^b z^c with c ≤ 1, of which z² = 1 − x² − y² leaves as many as there are harmonics, and one product with the matrix
    that takes them to Y_lm.

    Args:
        l_max: highest angular momentum.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        for degree, step in enumerate(_monomials(l_max)):
            self.register_buffer(f"parent{degree}", torch.tensor([parent for parent, _ in step]), persistent=False)
            self.register_buffer(f"axis{degree}", torch.tensor([axis for _, axis in step]), persistent=False)
        self.matrix: Tensor
        self.register_buffer("matrix", _matrix(l_max).clone(), persistent=False)

    def monomials(self, unit: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge component"]:
        """The columns 1, x, y, z, x², xy, y², xz, yz, …."""
        columns = [torch.ones_like(unit[:, :1])]
        for degree in range(self.l_max):
            parent, axis = self.get_buffer(f"parent{degree}"), self.get_buffer(f"axis{degree}")
            columns.append(columns[-1].index_select(1, parent) * unit.index_select(1, axis))
        return torch.cat(columns, dim=1)

    def as_terms(self, dtype: torch.dtype) -> tuple[Int[Tensor, "2 monomial"], Int[Tensor, "2 term"], Float[Tensor, " term"]]:
        """The same as lists: by which monomial and axis each is found, the monomial and component of every summand, and its factor."""
        component, monomial = self.matrix.T.nonzero().unbind(1)
        steps, first = [torch.zeros(2, 1, dtype=torch.long)], 0
        for degree in range(self.l_max):
            parent, axis = self.get_buffer(f"parent{degree}"), self.get_buffer(f"axis{degree}")
            steps.append(torch.stack([parent + first, axis]))
            first += 2 * degree + 1  # parents are numbered within their degree
        return torch.cat(steps, 1), torch.stack([monomial, component]), self.matrix[monomial, component].to(dtype)

    def forward(self, unit: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge component"]:
        """Y_lm of unit vectors, in the order and normalisation of `harmonics`."""
        return self.monomials(unit) @ self.matrix


def block(order: int) -> slice:
    """Where the components of l = `order` stand."""
    return slice(order**2, (order + 1) ** 2)


def angular_momenta(l_max: int) -> Int[Tensor, " component"]:
    """The l of every component."""
    return torch.tensor([order for order in range(l_max + 1) for _ in range(2 * order + 1)])


@cache
def gaunt(a: int, b: int, c: int) -> Float[np.ndarray, "m_a m_b m_c"]:
    """⟨Y_a Y_b Y_c⟩ over the sphere: the one coupling of three angular momenta to a scalar that a reflection keeps.

    Zero unless |a − b| ≤ c ≤ a + b with a + b + c even. The quadrature is exact for polynomials of this degree: Gauss–Legendre in z, equal
    angles around it. Normalised to Σ G² = 1.
    """
    degree = a + b + c
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = 2.0 * np.pi * np.arange(degree + 1) / (degree + 1)
    ring = np.sqrt(1.0 - z**2)[:, None]
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), np.broadcast_to(z[:, None], (len(z), len(angle)))], -1)
    values = harmonics(torch.from_numpy(points.reshape(-1, 3)), max(a, b, c)).numpy()
    measure = np.repeat(weight, len(angle)) / (2.0 * len(angle))
    coupling = np.einsum("p,pi,pj,pk->ijk", measure, values[:, block(a)], values[:, block(b)], values[:, block(c)])
    coupling[np.abs(coupling) < 1e-14] = 0.0
    norm = float(np.sqrt((coupling**2).sum()))
    normalised: Float[np.ndarray, "m_a m_b m_c"] = coupling / norm if norm > 1e-12 else coupling
    return normalised


def couplings(l_max: int) -> list[tuple[int, int, int]]:
    """All (a, b, c) with 1 ≤ a ≤ b, 1 ≤ c ≤ l_max whose harmonics couple."""
    pairs = combinations_with_replacement(range(1, l_max + 1), 2)
    return [(a, b, c) for a, b in pairs for c in range(max(1, b - a), min(l_max, a + b) + 1) if (a + b + c) % 2 == 0]
