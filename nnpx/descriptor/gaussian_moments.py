"""Gaussian moments: full contractions of Cartesian tensors."""

import math
from typing import Annotated, Final, final

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.density import by_center, slots, sum_of_outer_products
from nnpx.descriptor.stored import jacobian_by_slots
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.wiring import Wired

#: the monomials x^a y^b z^c of every degree up to 3, as a, b, c
MONOMIALS: Final = [(a, b, n - a - b) for n in range(4) for a in range(n, -1, -1) for b in range(n - a, -1, -1)]
#: where those of each degree begin, and the total
START: Final = [0, 1, 4, 10, 20]


@final
class GaussianMoments(Descriptor):
    """Every rotation-invariant contraction of at most three Cartesian moments of the neighbour density, up to rank 3.

        Ψ_L,s = Σ_j R_s(r_ij) r̂_ij^{⊗L},   R_s(r_ij) = f_c(r_ij) Σ_k c^{ij}_sk φ_k(r_ij) / √n_functions,   L = 0 … 3

        0  Ψ0^r                            4  Ψ2_ij^r Ψ2_ik^s Ψ2_jk^t     r ≤ s ≤ t
        1  Ψ1_i^r Ψ1_i^s       r ≤ s       5  Ψ1_i^r Ψ1_j^s Ψ2_ij^t       r ≤ s
        2  Ψ2_ij^r Ψ2_ij^s     r ≤ s       6  Ψ3_ijk^r Ψ3_ijl^s Ψ2_kl^t   r ≤ s
        3  Ψ3_ijk^r Ψ3_ijk^s   r ≤ s       7  Ψ3_ijk^r Ψ2_ij^s Ψ1_k^t

    summed over repeated axes. Zaverkin & Kästner 2020, doi:10.1021/acs.jctc.0c00347. The coefficients c are learned; with
    `species_embedding=onehot` there is one set for each pair of elements, as published.

    Args:
        cutoff: f_c.
        radial: φ_k.
        n_channels: length of the species vector.
        n_densities: number of radial functions R_s.
        generator: source of the initial coefficients.
    """

    multiplicity: Tensor
    rank2: Tensor
    rank3: Tensor
    pair: Tensor
    ordered: Tensor

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        n_densities: Annotated[int, Ge(1)],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        self.cutoff, self.radial, self.n_densities = cutoff, radial, n_densities
        start = torch.randn(n_channels, radial.n_functions * n_channels, n_densities, generator=generator, dtype=torch.float64)
        self.coefficients = nn.Parameter(start / radial.n_functions**0.5)
        pair = torch.triu_indices(n_densities, n_densities)
        triple = [(p, t) for p, s in enumerate(pair[1].tolist()) for t in range(s, n_densities)]
        tables = {
            "multiplicity": torch.tensor([float(_multiplicity(*powers)) for powers in MONOMIALS], dtype=torch.float64),
            "rank2": _positions_of_components(2),
            "rank3": _positions_of_components(3),
            "pair": pair,
            "ordered": torch.tensor([p * n_densities + t for p, t in triple]),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.n_features = len(self.names())

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """The contractions 0 to 7, each for all densities."""
        moments = self.moments(edges, chemistry)
        p, q = self.pair
        products = moments[:, :, p] * moments[:, :, q] * self.multiplicity[:, None]
        squares = [products[:, START[rank] : START[rank + 1]].sum(1) for rank in (1, 2, 3)]
        first, second = moments[:, START[1] : START[2]], moments.index_select(1, self.rank2)
        square, cube = second.unflatten(1, (3, 3)), moments.index_select(1, self.rank3).unflatten(1, (9, 3))
        matrices = [
            torch.einsum("axkp,axlp->apkl", square[..., p], square[..., q]),
            torch.einsum("akp,alp->apkl", first[..., p], first[..., q]),
            torch.einsum("axkp,axlp->apkl", cube[..., p], cube[..., q]),
        ]
        four, five, six = torch.bmm(torch.cat(matrices, 1).flatten(2), second).unflatten(1, (3, -1)).flatten(2).unbind(1)
        seven = torch.bmm(torch.einsum("axkr,axs->arsk", cube, second).flatten(1, 2), first).flatten(1)
        return torch.cat([moments[:, 0], *squares, four.index_select(1, self.ordered), five, six, seven], dim=1)

    def memory_per_atom(self, n_neighbors: float, *, derivatives: bool) -> float:
        """Monomials of every pair, and its radial functions in every channel."""
        per_pair = 6.0 * len(MONOMIALS) + 2.0 * (self.radial.n_functions + self.coefficients.shape[1])
        return super().memory_per_atom(n_neighbors, derivatives=derivatives) + per_pair * n_neighbors

    def moments(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom monomial density"]:
        """The different components of Ψ0, Ψ1, Ψ2 and Ψ3, in the order of `MONOMIALS`."""
        inside = slots(edges, self.cutoff.radius)
        shells = self.radial(inside.distance) * (self.cutoff(inside.distance) / self.radial.n_functions**0.5)[:, None]
        weighted = (shells[:, :, None] * chemistry.index_select(0, inside.neighbor)[:, None]).flatten(1)
        density = sum_of_outer_products(_monomials(inside.vector / inside.distance[:, None]), weighted, edges.n_atoms)
        return torch.bmm(density, by_center(chemistry, self.coefficients))

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij by forward differentiation."""
        return jacobian_by_slots(self, edges, chemistry)

    def names(self) -> list[str]:
        """`0 densities 0`, `1 densities 0,1`, `4 densities 0,0,1`: the number of the contraction, then r, s, t."""
        every = range(self.n_densities)
        pairs = [(r, s) for r in every for s in every if r <= s]
        mixed = [(*pair, t) for pair in pairs for t in every]
        sets: list[list[tuple[int, ...]]] = [
            [(r,) for r in every],
            *[list[tuple[int, ...]](pairs)] * 3,
            [(r, s, t) for r, s, t in mixed if s <= t],
            *[list[tuple[int, ...]](mixed)] * 2,
            [(r, s, t) for r in every for s in every for t in every],
        ]
        return [f"{kind} densities {','.join(map(str, chosen))}" for kind, group in enumerate(sets) for chosen in group]


def _monomials(unit: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge monomial"]:
    """The products of up to three components of a unit vector, in the order of `MONOMIALS`."""
    x, y, z = unit.unbind(1)
    second = [x * x, x * y, x * z, y * y, y * z, z * z]
    third = [*(x * product for product in second), *(y * product for product in second[3:]), z * second[5]]
    return torch.stack([torch.ones_like(x), x, y, z, *second, *third], dim=1)


def _multiplicity(a: int, b: int, c: int) -> int:
    """How many components of a symmetric tensor are the monomial x^a y^b z^c."""
    return math.factorial(a + b + c) // (math.factorial(a) * math.factorial(b) * math.factorial(c))


def _positions_of_components(rank: int) -> Int[Tensor, " component"]:
    """Where each of the 3^rank components of a symmetric tensor stands among the monomials."""
    axes = torch.cartesian_prod(*[torch.arange(3)] * rank).tolist()
    return torch.tensor([MONOMIALS.index((index.count(0), index.count(1), index.count(2))) for index in axes])
