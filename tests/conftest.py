"""Fixtures that many tests share."""

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    """The source of all randomness in a test."""
    return torch.Generator().manual_seed(0)
