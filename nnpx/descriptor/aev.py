"""The atomic environment vectors of ANI."""

import math
from typing import Annotated, Final, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.cutoff import Cutoff
from nnpx.descriptor.symmetry_functions import SymmetryFunctions
from nnpx.descriptor.triplet_sums import TripletFunctions
from nnpx.descriptor.triplets import Corners
from nnpx.errors import ConfigError
from nnpx.radial import Radial
from nnpx.radial.bells import bells
from nnpx.wiring import Wired

#: factor on the radial functions, which ANI's code has and its paper has not
RADIAL_FACTOR: Final = 0.25
#: factor on cos θ before its arc cosine, which keeps the slope of the angle finite on a straight line
COSINE_FACTOR: Final = 0.95


@final
class AEV(SymmetryFunctions):
    """Symmetry functions that look for bonds of given lengths and for angles of given sizes.

        radial   ¼ Σ_j φ_n(r_ij) f_c(r_ij)
        angular  2 Σ_{j<k} ((1 + cos(θ_ijk − θ_s)) / 2)^ζ e^{−η ((r_ij + r_ik)/2 − r_s)²} f_c(r_ij) f_c(r_ik),   θ = arccos(0.95 cos θ_ijk)

    Smith, Isayev & Roitberg 2017, doi:10.1039/C6SC05720A, eqs. 3 and 4. With `species_embedding=onehot`, `cutoff=cosine` and the radial
    functions `ani_1x` or `ani_2x` these are the vectors of TorchANI, component by component where elements ascend.

    The shells r_s stand evenly from `first_shell` up to the angular radius, which is left out; the angles θ_s halve n equal sectors of π.

    Args:
        cutoff: f_c, with its own radius for radial functions and with the angular radius for angular ones.
        radial: φ_n.
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å; at most the cutoff's.
        eta: η of the angular functions, Å⁻².
        zeta: exponent ζ.
        first_shell: the first r_s, Å.
        n_shells: number of shells r_s.
        n_angles: number of angles θ_s.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff, or `first_shell` not below it.
    """

    shift: Tensor
    angle: Tensor
    radial_factor = RADIAL_FACTOR

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        angular_radius: Annotated[float, Gt(0)],
        eta: Annotated[float, Gt(0)],
        zeta: Annotated[float, Ge(1)],
        first_shell: Annotated[float, Ge(0)],
        n_shells: Annotated[int, Ge(1)],
        n_angles: Annotated[int, Ge(1)],
    ) -> None:
        if first_shell >= angular_radius:
            raise ConfigError(
                "descriptor.first_shell",
                expected=f"less than descriptor.angular_radius = {angular_radius} Å",
                found=f"{first_shell} Å",
                do="Lower descriptor.first_shell.",
            )
        super().__init__(
            n_channels=n_channels,
            pairs=torch.triu_indices(n_channels, n_channels),
            angular_radius=angular_radius,
            radial=radial,
            cutoff=cutoff,
            third_side=False,
            shape=(n_shells, n_angles),
            combinations=torch.arange(n_shells * n_angles),
            columns=None,
        )
        self.eta, self.zeta = eta, zeta
        shells = torch.linspace(first_shell, angular_radius, n_shells + 1, dtype=torch.float64)[:-1]
        angles = (torch.arange(n_angles, dtype=torch.float64) + 0.5) * math.pi / n_angles
        self.register_buffer("shift", shells, persistent=False)
        self.register_buffer("angle", angles, persistent=False)

    def of_triplets(self) -> TripletFunctions:
        """f_c of a side, e^{−η (x/2 − r_s)²} of the sum of both, and the cones."""

        def side(distance: Float[Tensor, " side"]) -> Float[Tensor, "side shell"]:
            f: Tensor = self.angular_cutoff(distance)
            return f[:, None].expand(-1, len(self.shift))

        return TripletFunctions(side=side, third=self._shells, has_third_side=False, cone=self._cones)

    def _shells(self, both: Float[Tensor, " triplet"]) -> Float[Tensor, "triplet shell"]:
        """e^{−η (x/2 − r_s)²} of the sum x of both sides."""
        shells: Tensor = bells(-self.eta * (0.5 * both[:, None] - self.shift).square())
        return shells

    def _cones(self, cosine: Float[Tensor, " triplet"]) -> Float[Tensor, "triplet angle"]:
        """2 ((1 + cos(θ − θ_s)) / 2)^ζ by the addition theorem, without an arc cosine."""
        closer = COSINE_FACTOR * cosine[:, None]
        apart = closer * torch.cos(self.angle) + torch.sqrt(1.0 - closer.square()) * torch.sin(self.angle)
        cones: Tensor = 2.0 * (0.5 + 0.5 * apart) ** self.zeta
        return cones

    def factors(self, at: Corners) -> tuple[Float[Tensor, "triplet shell"], Float[Tensor, "triplet angle"]]:
        """One factor per shell and one per angle."""
        return self._shells(at.r_ij + at.r_ik) * (at.f_ij * at.f_ik)[:, None], self._cones(at.scalar / (at.r_ij * at.r_ik))

    def slopes(
        self, at: Corners, slope_ij: Float[Tensor, " triplet"], slope_ik: Float[Tensor, " triplet"]
    ) -> tuple[Float[Tensor, "triplet 3 shell"], Float[Tensor, "triplet angle"]]:
        """Product and chain rule; with c = 0.95 cos θ, ∂ cos(θ − θ_s) / ∂c = cos θ_s − c sin θ_s / √(1 − c²)."""
        apart = 0.5 * (at.r_ij + at.r_ik)[:, None] - self.shift
        bell = bells(-self.eta * apart.square())
        common = -self.eta * apart * (at.f_ij * at.f_ik)[:, None]
        by_r_ij, by_r_ik = (bell * (common + fall[:, None]) for fall in (slope_ij * at.f_ik, at.f_ij * slope_ik))
        cosine = (COSINE_FACTOR * at.scalar / (at.r_ij * at.r_ik))[:, None]
        sine = torch.sqrt(1.0 - cosine.square())
        between = 0.5 + 0.5 * (cosine * torch.cos(self.angle) + sine * torch.sin(self.angle))
        by_cosine = COSINE_FACTOR * (torch.cos(self.angle) - cosine / sine * torch.sin(self.angle))
        return torch.stack([by_r_ij, by_r_ik, torch.zeros_like(bell)], 1), self.zeta * between ** (self.zeta - 1.0) * by_cosine

    def names(self) -> list[str]:
        """`radial <function> channel 0`, `angular shift=… angle=… channels 0-1`, shifts in Å and angles in degrees."""
        radial = [f"radial {name} channel {q}" for q in range(self.n_channels) for name in self.radial.names()]
        angular = [
            f"angular shift={s:.3f} angle={math.degrees(angle):.2f} channels {p}-{q}"
            for p, q in zip(self.channel_p.tolist(), self.channel_q.tolist(), strict=True)
            for s in self.shift.tolist()
            for angle in self.angle.tolist()
        ]
        return radial + angular
