"""Loops over neighbours, compiled by Numba: where NumPy or torch would need matrices full of zeros, or many operations in a row."""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast, final

import numpy as np
from filelock import FileLock

#: what is summed may be summed in the order of the processor's liking, the same in every call; 1/0 is infinite, as in torch
_HOW: Final[dict[str, Any]] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}

_F = TypeVar("_F", bound=Callable[..., Any])

#: called before this process compiles for the first time
_HEARERS: Final[list[Callable[[], object]]] = []

#: some of the items that a loop is over: the number of the first, and one more than that of the last
Part = tuple[int, int]


@final
class Loop:
    """A Python function of arrays, compiled when it is first called with a precision, and kept on disk for the next process.

    Args:
        function: the loop. The first argument (of a tuple, its first array) says the precision of all numbers.
        may_reorder: whether numbers may be added in another order than it is written.
    """

    def __init__(self, function: Callable[..., Any], *, may_reorder: bool = True) -> None:
        self._code = inspect.unwrap(function)
        self._how = _HOW if may_reorder else _HOW | {"fastmath": _HOW["fastmath"] - {"reassoc"}}
        self._ready: dict[np.dtype, Callable[..., Any]] = {}

    def __call__(self, *arrays: Any) -> Any:
        """Run it, compiled."""
        first = arrays[0]
        precision = (first[0] if isinstance(first, tuple) else first).dtype
        if precision not in self._ready:
            self._ready[precision] = self._compiled(arrays)
        return self._ready[precision](*arrays)

    def _compiled(self, arrays: tuple[Any, ...]) -> Callable[..., Any]:
        """For arrays like these; one process at a time, as what several keep at once is mixed up."""
        import numba  # what compiles nothing does without it

        quick: Any
        types = tuple(map(numba.typeof, arrays))
        try:
            quick = numba.njit(cache=True, **self._how)(self._code)
            place = Path(quick.stats.cache_path)
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / f"{self._code.__name__}.lock"):
                _forget_what_is_outdated(self._code, place)
                if not any(place.glob(_kept(self._code))):
                    _tell()
                quick.compile(types)
        except (RuntimeError, OSError):  # nowhere to keep it
            _tell()
            quick = numba.njit(**self._how)(self._code)
            quick.compile(types)
        return cast("Callable[..., Any]", quick)


def tell_of_compiling(hearer: Callable[[], object]) -> None:
    """Has it called before this process compiles for the first time, which a user waits for."""
    _HEARERS.append(hearer)


def _tell() -> None:
    while _HEARERS:
        _HEARERS.pop()()


def _kept(code: Callable[..., Any]) -> str:
    """The names of the files in which Numba keeps a function."""
    return f"{code.__module__.rpartition('.')[2]}.{code.__name__}-*.nb*"


def _forget_what_is_outdated(code: Callable[..., Any], place: Path) -> None:
    """Numba asks whether the file of a loop has changed, not those of the functions that it calls, nor this one: removes what it kept."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted({Path(__file__), *_files(code)}))).hexdigest()
    stamp = place / _kept(code).replace("-*.nb*", ".parts")
    if not stamp.exists() or stamp.read_text() != digest:
        for outdated in place.glob(_kept(code)):
            outdated.unlink()
        stamp.write_text(digest)


def _files(code: Callable[..., Any]) -> set[Path]:
    """Where a function stands, and all compiled ones that its file names."""
    found: set[Path] = set()
    waiting = [code]
    while waiting:
        one = inspect.unwrap(waiting.pop())
        if (path := Path(inspect.getfile(one))) not in found:
            found.add(path)
            named = [getattr(value, "py_func", None) or getattr(value, "_defn", None) for value in vars(inspect.getmodule(one)).values()]
            waiting += [part for part in named if inspect.isfunction(part)]
    return found


def part_of_loop(function: _F) -> _F:
    """A function that compiled loops call, of the same file or another one."""
    import numba

    return cast("_F", numba.njit(**_HOW)(inspect.unwrap(function)))
