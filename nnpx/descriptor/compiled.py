"""Loops that are compiled: for sums that torch knows only with all their zeros, or only one operation after the other."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar, cast, final

import numba
import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

#: What is summed may be summed in the order of the processor's liking, the same in every call; 1/0 is infinite, as in torch. Numba keeps
#: what it compiled by the file of the loop: whoever changes this has to delete its caches, `__pycache__/*.nb*`.
_HOW: Final[dict[str, Any]] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}

_F = TypeVar("_F", bound=Callable[..., Any])

#: operations are known for as long as this is kept
_LIBRARY: Final = torch.library.Library("nnpx", "FRAGMENT")


@final
class Loop:
    """A loop over arrays, compiled by Numba, which reads its code: once for a machine and precision, kept where it finds a place.

    Args:
        function: the loop; its first array says the precision.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._code = inspect.unwrap(function)
        self._ready: dict[np.dtype, Callable[..., None]] = {}

    def __call__(self, *arrays: Any) -> None:
        """Run it, compiled."""
        precision = arrays[0].dtype
        if precision not in self._ready:
            self._ready[precision] = self._compiled(arrays)
        self._ready[precision](*arrays)

    def _compiled(self, arrays: tuple[Any, ...]) -> Callable[..., None]:
        """For arrays like these; one process at a time, as what several keep at once is mixed up."""
        quick: Any
        types = tuple(map(numba.typeof, arrays))
        try:
            quick = numba.njit(cache=True, **_HOW)(self._code)
            place = Path(quick.stats.cache_path)
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / f"{self._code.__name__}.lock"):
                quick.compile(types)
        except (RuntimeError, OSError):  # nowhere to keep it
            quick = numba.njit(**_HOW)(self._code)
            quick.compile(types)
        return cast("Callable[..., None]", quick)


def part_of_loop(function: _F) -> _F:
    """A function that compiled loops of the same file call."""
    return cast("_F", numba.njit(**_HOW)(inspect.unwrap(function)))


def operation(schema: str, function: Callable[..., Tensor], shape: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of tensors as an operation of torch's own kind, so that recordings, which see no Python, note it as one.

    Args:
        schema: its name and arguments, as torch writes them.
        function: what it does, on a processor.
        shape: a tensor of the shape that it gives, for whom that is enough.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, function, "CPU")
    _LIBRARY.impl(name, shape, "Meta")
    return cast("Callable[..., Tensor]", getattr(torch.ops.nnpx, name).default)


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
