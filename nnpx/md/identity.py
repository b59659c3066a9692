"""What a trajectory depends on, as one name."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

import numpy as np
from ase import Atoms

from nnpx.errors import ConfigError
from nnpx.md import Dynamics
from nnpx.md.replicas import Replicas
from nnpx.provenance import code_fingerprint, version

#: the packages that move atoms or give forces; a reference engine says its own version
_MADE_OF: Final = ("ase", "llvmlite", "numba", "numpy", "scipy", "torch", "torch-geometric")


def identity(potential: str, dynamics: Dynamics | Replicas, start: Atoms, seed: int, *, trusted: str) -> str:
    """Changes with whatever changes the trajectory, or where it stops: also with the code that makes it.

    Args:
        potential: names what gives the forces.
        dynamics: how it moves; its class and all that its settings hold count.
        start: from where.
        seed: of momenta and noise.
        trusted: checksum of the code that is not nnpx's.

    Raises:
        ConfigError: if a setting cannot be written down.
    """
    code = [code_fingerprint(), trusted, *map(version, _MADE_OF)]
    try:
        settings = _plain(dynamics, "md")
    except RecursionError as problem:
        raise _no_setting("md", "an object that holds itself, or a method of it") from problem
    words = json.dumps([code, potential, settings, seed, start.pbc.tolist()])
    moments = start.get_initial_magnetic_moments().reshape(len(start), -1)
    numbers = np.column_stack([start.numbers, start.get_masses(), start.positions, moments]).tobytes() + start.cell.array.tobytes()
    return hashlib.sha256(words.encode() + numbers).hexdigest()[:12]


def _plain(value: Any, where: str) -> Any:
    """The value in lists, numbers and words: an object as its class and its state, which is what pickle would keep of it."""
    if value is None or isinstance(value, float | int | str):
        return value
    if isinstance(value, Mapping):
        return [[_plain(key, where), _plain(item, f"{where}.{key}")] for key, item in value.items()]
    if isinstance(value, list | tuple | bytes):
        return [_plain(item, where) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_plain(item, where)) for item in value)
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _global(value, where)
    try:
        parts = value.__reduce_ex__(2)
    except TypeError as problem:
        raise _no_setting(where, type(value).__name__) from problem
    # those of lists and dictionaries hand out their items one by one
    return _plain([list(part) if isinstance(part, Iterator) else part for part in parts], where)


def _global(value: Callable[..., Any], where: str) -> str:
    """A class or a function by its dotted name; one that is made on the fly remembers what no name tells."""
    if isinstance(value, FunctionType) and "<" in value.__qualname__:
        raise _no_setting(where, "a function without a name of its own")
    return f"{value.__module__}.{value.__qualname__}"


def _no_setting(where: str, found: str) -> ConfigError:
    expected = "numbers, words, lists, mappings, or objects made of them, by which a trajectory is found again"
    return ConfigError(where, expected=expected, found=found, do="Keep what is made from the settings out of the attributes of the class.")
