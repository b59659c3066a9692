"""nnpx: declarative experiments with neural network potentials.

A noun of conf/ is the package of the same name, and a file of conf/<noun>/ names a class in it. Beside the nouns:

structures      graph, neighbors (neighbor_search, cell_lists), skin (lists that last), reduce, derivatives, units
a potential     potential, assembly (built from a configuration), artifact (its file), calculator (for ASE), extrapolation; speed/
training        statistics, fitting (one member), members (several), following, outcome (what it came to)
measuring       evaluation, metrics, reliability, curves; figures, results and report make pages of them
configuration   config, with configuration/ behind it; wiring, trusted, choices
command line    cli, verbs (what pipelines/ holds), upstream (what has to run before), arguments, flags, help, completion, commands/
runs            lineage, provenance, runs, registry; comparison/, inspection/, reproduction/, sweep/, tuning/
the machine     processes, locks, files, progress, errors
testing/        laws that every option of a noun obeys
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nnpx.artifact import load
    from nnpx.calculator import Calculator
    from nnpx.configuration.targets import trust

__all__ = ["Calculator", "__version__", "load", "trust"]


def __getattr__(name: str) -> Any:
    """`nnpx.load`, `nnpx.trust` and `nnpx.Calculator`, imported when first used: `nnpx --help` does not wait for torch."""
    if name in ("load", "Calculator"):
        from nnpx.processes import share_cores

        share_cores()  # before torch is loaded, unless it is
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
