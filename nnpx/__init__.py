"""nnpx: declarative experiments with neural network potentials."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nnpx.artifact import load
    from nnpx.calculator import Calculator

__all__ = ["Calculator", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """`nnpx.load` and `nnpx.Calculator`, imported when first used: `nnpx --help` does not wait for torch."""
    if name == "load":
        from nnpx.artifact import load

        return load
    if name == "Calculator":
        from nnpx.calculator import Calculator

        return Calculator
    raise AttributeError(name)
