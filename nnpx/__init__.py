"""nnpx: declarative experiments with neural network potentials."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nnpx.artifact import load
    from nnpx.calculator import Calculator
    from nnpx.configuration.targets import trust

__all__ = ["Calculator", "__version__", "load", "trust"]


def __getattr__(name: str) -> Any:
    """`nnpx.load`, `nnpx.trust` and `nnpx.Calculator`, imported when first used: `nnpx --help` does not wait for torch."""
    if name == "load":
        from nnpx.artifact import load

        return load
    if name == "Calculator":
        from nnpx.calculator import Calculator

        return Calculator
    if name == "trust":
        from nnpx.configuration.targets import trust

        return trust
    raise AttributeError(name)
