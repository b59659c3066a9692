"""The continuous ranked probability score of the labels."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.loss.scores import Scores


@final
class CRPS(Scores):
    """The distance between the predicted normal distribution and the label, ∫ (P(x ≤ y) − [label ≤ y])² dy.

        S = σ [ z (2Φ(z) − 1) + 2φ(z) − 1/√π ],   z = e/σ      Gneiting & Raftery 2007, doi:10.1198/016214506000001437

    φ and Φ are density and distribution function of the standard normal. It grows with |e| alone where the error is large, so outliers
    pull less than in `NLL`; with σ → 0 it is |e|. For a given error it is least at σ = |e|/√(ln 2), and in the mean over normally
    distributed errors at their own width.
    """

    changes_at = ()

    def score(self, error: Float[Tensor, "*label"], variance: Float[Tensor, "*label"]) -> Float[Tensor, "*label"]:
        """σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π], with 2Φ(z) − 1 = erf(z/√2)."""
        width = variance.sqrt()
        z = error / width
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
        return width * (z * torch.erf(z / math.sqrt(2.0)) + 2.0 * density - 1.0 / math.sqrt(math.pi))
