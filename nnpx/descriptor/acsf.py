"""Atom-centred symmetry functions of Behler and Parrinello."""

from typing import Annotated, Final, Literal, final

import torch
from annotated_types import Gt, Len
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.derivatives import with_slope
from nnpx.descriptor.angular import AngularSet
from nnpx.descriptor.function_grid import FunctionGrid
from nnpx.descriptor.kept import check_known, keep
from nnpx.descriptor.symmetry_functions import SymmetryFunctions
from nnpx.descriptor.triplet_sums import TripletFunctions
from nnpx.descriptor.triplets import Corners
from nnpx.radial import Radial
from nnpx.wiring import Wired

#: Behler's names of the two kinds of angular functions
_KIND: Final = {"narrow": "G4", "wide": "G5"}


@final
class ACSF(SymmetryFunctions):
    """Radial functions of one neighbour, angular functions of two, summed over the neighbours within the cutoff.

        G2_i = Σ_j     w_j     φ_n(r_ij) f_c(r_ij)
        G4_i = Σ_{j<k} w_{jk} 2^{1−ζ} (1 + λ cos θ_ijk)^ζ g(r_ij) g(r_ik) g(r_jk),   g(r) = e^{−η (r − r_s)²} f_c(r)     narrow
        G5_i = the same without g(r_jk)                                                                               wide

    Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401; Behler 2011, doi:10.1063/1.3553717.

    The weights come from the species embedding e: w_j = e_j gives one radial block per channel, and the symmetric products
    e_j^p e_k^q (p ≤ q) one angular block per pair of channels. With `onehot` these are Behler's element-resolved functions; with
    one channel that holds the atomic number they are the weighted functions of Gastegger et al. 2018 (doi:10.1063/1.5019667).

    Args:
        cutoff: f_c, applied to radial functions at its own radius.
        radial: φ_n.
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å; at most the cutoff's.
        kind: `narrow` (G4, all three atoms within the radius) or `wide` (G5, both neighbours within it).
        angular: the set of η, r_s, λ, ζ.
        functions: names of the functions to keep, as `nnpx select` chooses them; null keeps all. What no kept function needs is not
            evaluated.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff, or `functions` names one that is not there.
    """

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        angular_radius: Annotated[float, Gt(0)],
        kind: Literal["narrow", "wide"],
        angular: AngularSet,
        functions: Annotated[list[str], Len(1)] | None,
    ) -> None:
        pool, pairs = FunctionGrid(angular.parameters(angular_radius)), torch.triu_indices(n_channels, n_channels)
        of_two = [[f"G2 {name} channel {q}" for name in radial.names()] for q in range(n_channels)]
        of_three = [[f"{_KIND[kind]} {name} channels {p}-{q}" for name in pool.names()] for p, q in pairs.T.tolist()]
        check_known(functions or (), (of_two, of_three))
        kept = keep(of_three, functions)
        before = [name for row in of_two for name in row]
        columns = [k for k, name in enumerate(before) if functions is None or name in functions]
        grid = pool.only(kept.functions)
        super().__init__(
            n_channels=n_channels,
            pairs=pairs[:, kept.blocks],
            angular_radius=angular_radius,
            radial=radial,
            cutoff=cutoff,
            third_side=kind == "narrow",
            shape=(len(grid.eta), len(grid.lam)),
            combinations=grid.chosen,
            columns=torch.tensor([*columns, *(len(before) + column for column in kept.columns)], dtype=torch.long),
        )
        self.kind, self.grid = kind, grid
        self._names = [*(before[k] for k in columns), *kept.names]

    def of_triplets(self) -> TripletFunctions:
        """The functions g of every η and r_s, and 2 ((1 + λ cos θ) / 2)^ζ of every λ and ζ."""
        is_narrow = self.kind == "narrow"
        third = self._side if is_narrow else self._one
        return TripletFunctions(side=self._side, third=third, has_third_side=is_narrow, cone=self.grid.cones)

    def _side(self, distance: Float[Tensor, " side"]) -> Float[Tensor, "side shell"]:
        """g(r)."""
        side: Tensor = self.grid.shells(distance.square(), distance, 1) * self.angular_cutoff(distance)[:, None]
        return side

    def _one(self, distance: Float[Tensor, " side"]) -> Float[Tensor, "side shell"]:
        """The third side counts nothing."""
        return distance.new_ones(len(distance), self.shape[0])

    def factors(self, at: Corners) -> tuple[Float[Tensor, "triplet shell"], Float[Tensor, "triplet cone"]]:
        """g(r_ij) g(r_ik) g(r_jk) or g(r_ij) g(r_ik) of every η and r_s; 2 ((1 + λ cos θ) / 2)^ζ of every λ and ζ."""
        sides, squares = at.r_ij + at.r_ik, at.r_ij**2 + at.r_ik**2
        envelope = at.f_ij * at.f_ik
        if self.kind == "narrow":
            r_jk = torch.sqrt(squares - 2.0 * at.scalar)
            sides, squares, envelope = sides + r_jk, squares + r_jk**2, envelope * self.angular_cutoff(r_jk)
        n_sides = 3 if self.kind == "narrow" else 2
        return self.grid.shells(squares, sides, n_sides) * envelope[:, None], self.grid.cones(at.scalar / (at.r_ij * at.r_ik))

    def slopes(
        self, at: Corners, slope_ij: Float[Tensor, " triplet"], slope_ik: Float[Tensor, " triplet"]
    ) -> tuple[Float[Tensor, "triplet 3 shell"], Float[Tensor, "triplet cone"]]:
        """∂Πg = e^{−η Σ (r − r_s)²} [Πf_c (−η ∂Σr² + 2 η r_s ∂Σr) + ∂Πf_c] over the sides, and the slopes of the cones."""
        sides, squares, envelope = at.r_ij + at.r_ik, at.r_ij**2 + at.r_ik**2, at.f_ij * at.f_ik
        one, none = torch.ones_like(sides), torch.zeros_like(sides)
        of_sides, of_squares = torch.stack([one, one, none]), torch.stack([2.0 * at.r_ij, 2.0 * at.r_ik, none])
        of_envelope = torch.stack([slope_ij * at.f_ik, at.f_ij * slope_ik, none])
        if self.kind == "narrow":
            r_jk = torch.sqrt(squares - 2.0 * at.scalar)
            of_r_jk = torch.stack([at.r_ij, at.r_ik, -one]) / r_jk
            f_jk, slope_jk = with_slope(self.angular_cutoff, r_jk)
            sides, of_sides = sides + r_jk, of_sides + of_r_jk
            squares, of_squares = squares + r_jk**2, of_squares + 2.0 * r_jk * of_r_jk
            envelope, of_envelope = envelope * f_jk, of_envelope * f_jk + envelope * slope_jk * of_r_jk
        changes = torch.stack([envelope * of_squares, envelope * of_sides, of_envelope], 2)
        n_sides = 3 if self.kind == "narrow" else 2
        left = self.grid.shell_slopes(squares, sides, n_sides, changes)
        return left, self.grid.cone_slopes(at.scalar / (at.r_ij * at.r_ik))

    def names(self) -> list[str]:
        """`G2 <radial> channel 0`, `G4 eta=… shift=… lambda=… zeta=… channels 0-1`, in the order of the features."""
        return list(self._names)
