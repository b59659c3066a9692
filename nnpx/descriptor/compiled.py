"""Loops that are compiled, for sums that torch knows only with all their zeros."""

import inspect
from collections.abc import Callable
from typing import Any, Final

import numba
import torch

#: what is summed may be summed in the order of the processor's liking, the same in every call
_HOW: Final[dict[str, Any]] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """A loop over arrays, compiled by Numba, which reads its code: once for a machine and precision, kept where it finds a place."""
    code = inspect.unwrap(function)
    try:
        quick: Callable[..., None] = numba.njit(cache=True, **_HOW)(code)
    except RuntimeError:  # nowhere to keep it
        quick = numba.njit(**_HOW)(code)
    return quick


def with_known_signature(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """A function of torch's that is asked for its signature in every call, which takes longer to find out than a few atoms to compute."""
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]  # Python lets it
    return function
