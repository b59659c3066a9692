"""Averaged weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn


@final
class AveragedWeights:
    """Exponential moving average of a model's weights (Polyak & Juditsky 1992, doi:10.1137/0330046).

    After update n:  average ← average + (1 − d) (weights − average),  d = min(decay, (1 + n) / (10 + n)).

    Args:
        model: whose weights are averaged; the average starts at the present ones.
        decay: memory per update.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self._weights = list(model.parameters())
        self._decay = decay
        self._average = [weight.detach().clone() for weight in self._weights]

    def update(self, n: int) -> None:
        """Take in the present weights after update n, counted from 0."""
        decay = min(self._decay, (1.0 + n) / (10.0 + n))
        torch._foreach_lerp_(self._average, [weight.detach() for weight in self._weights], 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        present = [weight.detach().clone() for weight in self._weights]
        self.load(self._average)
        try:
            yield
        finally:
            self.load(present)

    def load(self, weights: list[Tensor]) -> None:
        """Give the model these weights."""
        with torch.no_grad():
            torch._foreach_copy_(list(self._weights), weights)

    def copy(self) -> list[Tensor]:
        """The average, in the order of the model's parameters."""
        return [weight.clone() for weight in self._average]

    def restore(self, average: list[Tensor]) -> None:
        """Continue from a saved average."""
        torch._foreach_copy_(self._average, average)
