"""What no selection needs to look at: functions that do not vary, and functions that say what others say."""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Pruned:
    """Outcome of a pruning: indices of functions."""

    kept: list[int]
    constant: list[int]  #: do not vary within any element
    redundant: list[int]  #: follow from one that is kept


@final
class Pruning:
    """Leaves out functions whose range is too small, then those that are too correlated with one that is kept.

    The thresholds are those that are usual for symmetry functions (Imbalzano et al. 2018, doi:10.1063/1.5024611). Each element counts for
    itself, as its features are standardised by themselves: range is the largest within an element, correlation the mean over elements.

    Args:
        min_range: smallest difference between the largest and the smallest value.
        max_correlation: largest magnitude of the correlation with a kept function; of two, the first stays.
    """

    def __init__(self, *, min_range: Annotated[float, Gt(0)], max_correlation: Annotated[float, Ge(0), Le(1)]) -> None:
        self.min_range, self.max_correlation = min_range, max_correlation

    def prune(self, features: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"]) -> tuple[Pruned, Float[Tensor, "kept kept"]]:
        """The functions that are left, and their overlap."""
        overlap = overlaps(features, species, self.min_range)
        size = overlap.diagonal().sqrt()
        varies = size > 0
        correlation = (overlap / torch.outer(size, size).clamp_min(torch.finfo(size.dtype).tiny)).abs()
        kept: list[int] = []
        redundant: list[int] = []
        for k in varies.nonzero()[:, 0].tolist():
            like_another = bool((correlation[k, kept] > self.max_correlation).any())
            (redundant if like_another else kept).append(k)
        return Pruned(kept, (~varies).nonzero()[:, 0].tolist(), redundant), overlap[kept][:, kept]


def overlaps(features: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"], min_range: float) -> Float[Tensor, "feature feature"]:
    """XᵀX, the mean over the elements of the correlations within each of them.

    X holds the features with mean 0 and variance 1 within the environments of an element; where a function varies by less than
    `min_range` within an element, it counts as constant there and its values are 0.
    """
    elements = species.unique().tolist()
    total = features.new_zeros(features.shape[1], features.shape[1])
    for element in elements:
        own = features[species == element]
        varies: Bool[Tensor, " feature"] = own.amax(0) - own.amin(0) >= min_range
        centred = torch.where(varies, own - own.mean(0), 0.0)
        width = torch.where(varies, centred.square().mean(0).sqrt(), 1.0)
        standardised = centred / width
        total += standardised.T @ standardised / len(own)
    return total / len(elements)


def explained(overlap: Float[Tensor, "feature feature"], chosen: list[int]) -> float:
    """The part of the variance of the functions left out that is linear in the chosen ones; NaN where none is left out."""
    rest = [k for k in range(len(overlap)) if k not in set(chosen)]
    ours, between = overlap[chosen][:, chosen], overlap[chosen][:, rest]
    predicted = (between * torch.linalg.lstsq(ours, between, driver="gelsd").solution).sum()
    return float(predicted / overlap.diagonal()[rest].sum())
