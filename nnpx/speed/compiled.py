"""Compiled loops (`nnpx.speed.loops`) as operations of torch, and whether they are to be used."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

#: operations are known for as long as this is kept
_LIBRARY: Final = torch.library.Library("nnpx", "FRAGMENT")


def operation(schema: str, function: Callable[..., Any], shape: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors as an operation of torch's own kind, so that recordings, which see no Python, note it as one.

    Args:
        schema: its name and arguments, as torch writes them.
        function: what it does, on a processor.
        shape: tensors of the shapes that it gives, for whom that is enough.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, function, "CPU")
    _LIBRARY.impl(name, shape, "Meta")
    found: Callable[..., Any] = getattr(torch.ops.nnpx, name).default
    return found


def arrays(tensors: list[Tensor]) -> tuple[np.ndarray, ...]:
    """Tensors on a processor as loops read them."""
    return tuple(tensor.contiguous().numpy() for tensor in tensors)


#: whether loops are used where torch has operations for the same
_MAY_USE_LOOPS: Final = ContextVar("_MAY_USE_LOOPS", default=True)


@contextmanager
def without_loops() -> Iterator[None]:
    """Within, what torch has operations for is left to it: another compiler joins these, and cannot look into a loop."""
    token = _MAY_USE_LOOPS.set(False)
    try:
        yield
    finally:
        _MAY_USE_LOOPS.reset(token)


def may_use_loops() -> bool:
    """Whether this is not `without_loops`."""
    return _MAY_USE_LOOPS.get()


def with_known_signature(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """A function of torch's that is asked for its signature in every call, which takes longer to find out than a few atoms to compute."""
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]  # Python lets it
    return function
