"""Squared errors of energy, forces and stress."""

from typing import Annotated, final

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from nnpx.loss.weighted_errors import WeightedErrors
from nnpx.wiring import Wired


@final
class EnergyForces(WeightedErrors):
    """Weighted mean squared errors of the energy, the force components and the virial, the first and the last per √N of N atoms.

        L = [ w_E ⟨(ΔE / √N)²⟩ / Å² + w_F ⟨w_Z ΔF²⟩ + w_S ⟨(volume · Δstress)² / N⟩ / Å² ] / F_rms²

    The error of an energy is divided by √N, and not by N: errors of atoms are taken as independent, so that large and small structures
    count alike. Where a code has (ΔE / N)², as most do, its weight of energies is N times as large for the same effect.

    Args:
        forces_rms: see `WeightedErrors`.
        numbers: see `WeightedErrors`.
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

    def penalty(self, square: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The square itself."""
        return square
