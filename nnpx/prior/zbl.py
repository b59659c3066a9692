"""The repulsion of screened nuclei."""

from typing import Annotated, Final, final

import torch
from annotated_types import Ge, Gt
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from nnpx import units
from nnpx.graph import Edges
from nnpx.prior import Prior
from nnpx.reduce import sum_edges_to_atoms
from nnpx.wiring import Wired

#: weights and decay rates of the universal screening function φ(x) = Σ c_k e^{−d_k x}
UNIVERSAL_SCREENING: Final = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


@final
class ZBL(Prior):
    """Two nuclei repel each other through their electron clouds: a wall that no data set of gentle structures contains.

        V(r) = e²/(4πε₀) Z Z′/r φ(r/a) u(r/R),   a = 0.46850 Å / (Z^0.23 + Z′^0.23)
        φ(x) = 0.18175 e^{−3.1998x} + 0.50986 e^{−0.94229x} + 0.28022 e^{−0.4029x} + 0.02817 e^{−0.20162x}
        u(x) = 1 − ½(p+1)(p+2) xᵖ + p(p+2) xᵖ⁺¹ − ½p(p+1) xᵖ⁺²,   R = reach_factor (R_cov + R_cov′)

    Ziegler, Biersack & Littmark, The Stopping and Range of Ions in Solids (1985). u takes the repulsion to zero with two continuous
    derivatives; covalent radii are those of Cordero et al. 2008 (doi:10.1039/B801115J), from ASE. R must be shorter than the bonds: a
    vibration that crosses R meets the jump of the third derivative, from which every integrator takes a little energy at random.

    Args:
        reach_factor: R in units of the sum of the covalent radii; molecules have bonds from 0.77 of it (C≡N) on.
        power: p.
        numbers: atomic numbers in the order of the species index.

    Attributes:
        reach: the longest R, Å; the potential's cutoff must not be shorter.
    """

    def __init__(self, *, reach_factor: Annotated[float, Gt(0)], power: Annotated[int, Ge(2)], numbers: Wired[list[int]]) -> None:
        super().__init__()
        self.power, self.n_species = power, len(numbers)
        charge = torch.tensor(numbers, dtype=torch.float64)
        radius = torch.tensor([float(covalent_radii[number]) for number in numbers], dtype=torch.float64)
        reach = reach_factor * (radius[:, None] + radius)
        screening_length = 0.46850 / (charge[:, None].pow(0.23) + charge.pow(0.23))
        self.reach = float(reach.max())
        self.half_coulomb: Tensor
        self.per_reach: Tensor
        self.decay: Tensor
        self.weight: Tensor
        self.register_buffer("half_coulomb", (0.5 * units.coulomb * charge[:, None] * charge).flatten(), persistent=False)
        self.register_buffer("per_reach", reach.flatten().reciprocal(), persistent=False)
        self.register_buffer("weight", torch.tensor([c for c, _ in UNIVERSAL_SCREENING], dtype=torch.float64), persistent=False)
        rates = torch.tensor([d for _, d in UNIVERSAL_SCREENING], dtype=torch.float64)
        self.register_buffer("decay", -rates / screening_length.flatten()[:, None], persistent=False)

    def places(self, edges: Edges, species: Int[Tensor, " atom"]) -> Int[Tensor, " chosen"]:
        """The edges shorter than the R of their own elements; of a complete list all."""
        near = edges.near(self.reach)
        if edges.complete or len(near) == 0:
            return near
        return near[edges.distance[near] < self.per_reach[self._elements(edges, species, near)].reciprocal()]

    def _elements(self, edges: Edges, species: Int[Tensor, " atom"], places: Int[Tensor, " chosen"]) -> Int[Tensor, " chosen"]:
        """Which pair of elements the edges at some places have."""
        return species[edges.center[places]] * self.n_species + species[edges.neighbor[places]]

    def forward(self, edges: Edges, species: Int[Tensor, " atom"]) -> Float[Tensor, " atom"]:
        """Half of every pair's repulsion; beyond R, where nearly all pairs are, it is zero and not evaluated."""
        near = self.places(edges, species)
        if len(near) == 0:
            return edges.distance.new_zeros(edges.n_atoms)
        pair, distance = self._elements(edges, species, near), edges.distance[near]
        screening = torch.exp(distance[:, None] * self.decay[pair]) @ self.weight
        repulsion = self.half_coulomb[pair] / distance * screening * self.envelope(distance * self.per_reach[pair])
        return sum_edges_to_atoms(repulsion, edges.center[near], edges.n_atoms)

    def envelope(self, x: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
        """The taper u, which is exactly zero from x = 1 on."""
        p, x = self.power, x.clamp(max=1.0)
        return 1.0 + x.pow(p) * (-0.5 * (p + 1) * (p + 2) + x * (p * (p + 2) - 0.5 * p * (p + 1) * x))
