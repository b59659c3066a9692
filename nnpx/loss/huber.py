"""Errors that count by their square while they are small and by their size when they are large."""

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.loss.weighted_errors import WeightedErrors
from nnpx.wiring import Wired


@final
class Huber(WeightedErrors):
    """Weighted mean Huber functions of the errors: a large error, or a wrong label, pulls no harder than an error of δ does.

        L = w_E ⟨ρ(ΔE / √N)⟩ + w_F ⟨w_Z ρ(ΔF)⟩ + w_S ⟨ρ(volume · Δstress / √N)⟩,   errors in units of F_rms and F_rms · Å
        ρ(x) = x² where |x| ≤ δ, else 2δ|x| − δ²                            Huber 1964, doi:10.1214/aoms/1177703732

    ρ is twice Huber's function, so that small errors cost what they cost in `EnergyForces` and weights keep their meaning. Each component
    counts by itself, as is usual: where it is not square, the loss depends a little on how the axes lie.

    Args:
        forces_rms: see `WeightedErrors`.
        numbers: see `WeightedErrors`.
        delta: δ, in units of F_rms: 0.01 is 10 meV/Å where forces are 1 eV/Å.
        energy_weight: see `WeightedErrors`.
        forces_weight: see `WeightedErrors`.
        stress_weight: see `WeightedErrors`.
        element_weights: see `WeightedErrors`.
    """

    changes_at = ()

    def __init__(
        self,
        *,
        forces_rms: Wired[float],
        numbers: Wired[list[int]],
        delta: Annotated[float, Gt(0)],
        energy_weight: Annotated[float, Ge(0)],
        forces_weight: Annotated[float, Ge(0)],
        stress_weight: Annotated[float, Ge(0)],
        element_weights: dict[str, Annotated[float, Ge(0)]] | None,
    ) -> None:
        super().__init__(
            forces_rms=forces_rms,
            numbers=numbers,
            energy_weight=energy_weight,
            forces_weight=forces_weight,
            stress_weight=stress_weight,
            element_weights=element_weights,
        )
        self.bend = delta * forces_rms

    def penalty(self, square: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """ρ of the root; the root is taken of what lies beyond the bend alone, since its slope at zero is infinite."""
        beyond = 2.0 * self.bend * square.clamp_min(self.bend**2).sqrt() - self.bend**2
        return torch.where(square <= self.bend**2, square, beyond)
