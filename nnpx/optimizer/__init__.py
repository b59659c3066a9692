"""Optimisers: how parameters follow the gradient. A new one is a subclass of `Optimizer` that builds a `torch.optim.Optimizer`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import nn


class Optimizer(ABC):
    """Settings from which a `torch.optim.Optimizer` is built.

    Attributes:
        learning_rate: its peak, which the schedule scales.
        sees_one_function: whether it takes the loss for the same function of the weights in all updates.
    """

    learning_rate: float
    sees_one_function: bool = False

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of these parameters."""
