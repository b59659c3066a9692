"""The continuous ranked probability score of the labels."""

import math
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.loss.scores import Scores
from nnpx.wiring import Wired


@final
class CRPS(Scores):
    """The distance between the predicted normal distribution and the label, ∫ (P(x ≤ y) − [label ≤ y])² dy.

        S = σ [ z (2Φ(z) − 1) + 2φ(z) − 1/√π ],   z = e/σ      Gneiting & Raftery 2007, doi:10.1198/016214506000001437

    φ and Φ are density and distribution function of the standard normal. It grows with |e| alone where the error is large, so outliers
    pull less than in `NLL`; with σ → 0 it is |e|. For a given error it is least at σ = |e|/√(ln 2), and in the mean over normally
    distributed errors at their own width.

    Args:
        forces_rms: see `Scores`.
        knows_energy_std: see `Scores`.
        knows_forces_std: see `Scores`.
        energy_weight: see `Scores`.
        forces_weight: see `Scores`.
        smallest: see `Scores`.
    """

    def __init__(
        self,
        *,
        forces_rms: Wired[float],
        knows_energy_std: Wired[bool],
        knows_forces_std: Wired[bool],
        energy_weight: Annotated[float, Ge(0)],
        forces_weight: Annotated[float, Ge(0)],
        smallest: Annotated[float, Gt(0)],
    ) -> None:
        super().__init__(
            forces_rms=forces_rms,
            knows_energy_std=knows_energy_std,
            knows_forces_std=knows_forces_std,
            energy_weight=energy_weight,
            forces_weight=forces_weight,
            smallest=smallest,
        )

    def score(self, error: Float[Tensor, "*label"], variance: Float[Tensor, "*label"]) -> Float[Tensor, "*label"]:
        """σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π], with 2Φ(z) − 1 = erf(z/√2)."""
        width = variance.sqrt()
        z = error / width
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
        return width * (z * torch.erf(z / math.sqrt(2.0)) + 2.0 * density - 1.0 / math.sqrt(math.pi))
