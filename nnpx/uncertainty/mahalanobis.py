"""Where the training environments lie in the space that the last layer reads: a Gaussian cloud for each element."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: variance that is added in every direction, as a share of the mean variance of an element: rounding lies far below, and in directions in
#: which training did not vary at all it says how much is much
RIDGE: Final = 1e-6
#: variance, as a share of the mean square, that rounding alone may leave of equal environments
ROUNDING: Final = 1e-12


@final
@dataclass(frozen=True)
class Mahalanobis:
    """Mean and inverse covariance of what the last layer reads, over the training environments of each element.

        d_i = √((h_i − μ_z)ᵀ (Σ_z + ς² 1)⁻¹ (h_i − μ_z) / K),   ς² = RIDGE · tr Σ_z / K

    the Mahalanobis distance of an environment, per direction: about 1 for those like training, however features vary together, if training
    has several times K environments of the element. With fewer it does not vary in every direction, and all that is new seems far. h_i are
    the K numbers of which E_i is a weighted sum. Lee et al. 2018, arXiv:1807.03888; for the same matrix as a variance of the energy see
    Bigi et al. 2024, doi:10.1088/2632-2153/ad805f.

    Args:
        mean: μ; NaN for an element whose environments do not differ, or that has none.
        precision: (Σ_z + ς² 1)⁻¹.
    """

    mean: Float[Tensor, "species width"]
    precision: Float[Tensor, "species width width"]

    @classmethod
    def of(cls, pieces: Iterable[tuple[Float[Tensor, "_ width"], Int[Tensor, " _"]]], n_species: int) -> "Mahalanobis":
        """Those of these environments: what the last layer reads of them, and their elements."""
        total: list[Tensor] = []
        for signal, species in pieces:
            owned = torch.nn.functional.one_hot(species, n_species).double().T[:, :, None] * signal.double()
            sums = [torch.bincount(species, minlength=n_species).double(), owned.sum(1), owned.mT @ signal.double()]
            total = [old + new for old, new in zip(total, sums, strict=True)] if total else sums
        count, first, second = total
        mean = first / count[:, None]
        covariance = second / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
        variance, square = (matrix.diagonal(dim1=1, dim2=2).mean(1) for matrix in (covariance, second / count[:, None, None]))
        identity = torch.eye(mean.shape[1], dtype=torch.float64, device=mean.device)
        spread = (variance > ROUNDING * square)[:, None]
        widened = torch.where(spread[..., None], covariance + RIDGE * variance[:, None, None] * identity, identity)
        return cls(torch.where(spread, mean, torch.nan), torch.linalg.inv(widened))

    def distance(self, signal: Float[Tensor, "atom width"], species: Int[Tensor, " atom"]) -> Float[Tensor, " atom"]:
        """The distance d of every environment; infinite for an element of which training tells nothing."""
        mean, precision = self.mean.to(signal.device), self.precision.to(signal.device)
        away = signal.double() - mean[species]
        squared = torch.zeros(len(signal), dtype=torch.float64, device=signal.device)
        for element in range(len(mean)):
            own = species == element
            squared[own] = ((away[own] @ precision[element]) * away[own]).sum(1)
        return (squared / mean.shape[1]).sqrt().nan_to_num(nan=torch.inf)
