"""Optimisers: how parameters follow the gradient. A new one is a subclass of `Optimizer` that builds a `torch.optim.Optimizer`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import nn


class Optimizer(ABC):
    """Settings from which a `torch.optim.Optimizer` is built; `learning_rate` is its peak, which the schedule scales."""

    learning_rate: float

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of these parameters."""
