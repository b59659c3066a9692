"""Effective medium theory: metals in microseconds, for tests and lessons."""

from importlib.metadata import version
from typing import final

from ase.calculators import emt
from ase.calculators.calculator import BaseCalculator

from nnpx.reference import Reference


@final
class EMT(Reference):
    """Effective medium theory for Al, Cu, Ag, Au, Ni, Pd, Pt (doi:10.1016/0039-6028(96)00816-3), as in ASE."""

    @property
    def level_of_theory(self) -> str:
        """Method and version."""
        return f"effective medium theory (ase {version('ase')})"

    def calculator(self) -> BaseCalculator:
        """ASE's EMT."""
        return emt.EMT()
