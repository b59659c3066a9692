"""What a broken law says."""

from collections.abc import Callable, Iterable
from typing import TypeVar, final

import torch
from torch import Tensor

from nnpx.errors import NNPXError

Subject = TypeVar("Subject")


@final
class ContractError(NNPXError):
    """A law of physics, or a promise of a noun, that does not hold."""


def verify(subject: Subject, laws: Iterable[Callable[[Subject], None]]) -> None:
    """All the laws, one after another.

    Raises:
        ContractError: the first that does not hold.
    """
    for law in laws:
        law(subject)


def require(holds: bool, law: str, *, expected: str, found: str) -> None:
    """The law holds.

    Raises:
        ContractError: it does not.
    """
    if not holds:
        raise ContractError(law, expected=expected, found=found, do="Correct the formula or its derivative.")


def require_equal(law: str, found: Tensor, expected: Tensor, *, within: float, unit: str) -> None:
    """Two tensors agree everywhere; NaN agrees with NaN.

    Raises:
        ContractError: they differ in shape or somewhere by more than `within`.
    """
    require(found.shape == expected.shape, law, expected=f"shape {tuple(expected.shape)}", found=f"shape {tuple(found.shape)}")
    found, expected = found.detach(), expected.detach()
    both_missing = torch.isnan(found) & torch.isnan(expected)
    off = torch.where(both_missing, 0.0, (found - expected).abs().double())
    worst = float(off.max()) if off.numel() else 0.0
    require(worst <= within, law, expected=f"agreement within {within:g} {unit}", found=f"a difference of {worst:.3g} {unit}")
