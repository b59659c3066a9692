"""Extended tight binding through tblite: quantum chemistry in milliseconds."""

from copy import copy
from importlib.metadata import version
from typing import Annotated, Literal, final

from annotated_types import Gt
from ase.calculators.calculator import BaseCalculator

from nnpx.reference import Reference, missing


@final
class XTB(Reference):
    """Semi-empirical tight binding with self-consistent charges, parametrised for geometries and energies of Z ≤ 86.

    GFN2-xTB (multipole electrostatics, density-dependent dispersion; doi:10.1021/acs.jctc.8b01176) for molecules; GFN1-xTB
    (doi:10.1021/acs.jctc.7b00118) for crystals. Γ point only: label one fixed supercell.

    Args:
        method: parametrisation.
        accuracy: multiplies the thresholds of the self-consistent cycle; smaller is tighter.
        electronic_temperature_K: width of the Fermi smearing, K.
        max_iterations: cycles after which a structure counts as not converged.
        charge: total charge, e.
    """

    def __init__(
        self,
        *,
        method: Literal["GFN2-xTB", "GFN1-xTB"],
        accuracy: Annotated[float, Gt(0)],
        electronic_temperature_K: Annotated[float, Gt(0)],
        max_iterations: Annotated[int, Gt(0)],
        charge: int,
    ) -> None:
        self.method, self.accuracy, self.charge = method, accuracy, charge
        self.electronic_temperature_K, self.max_iterations = electronic_temperature_K, max_iterations

    @property
    def level_of_theory(self) -> str:
        """Method, charge, smearing and version."""
        settings = f"charge {self.charge}, {self.electronic_temperature_K:g} K, accuracy {self.accuracy:g}"
        return f"{self.method} ({settings}; tblite {version('tblite')})"

    def neutral(self) -> Reference:
        """Without the charge."""
        other = copy(self)
        other.charge = 0
        return other

    def calculator(self) -> BaseCalculator:
        """The ASE calculator of tblite; it starts from the density of the structure before, which dynamics profits from."""
        try:
            from tblite.ase import TBLite
        except ImportError as error:
            raise missing("tblite", "pip install tblite") from error
        return TBLite(
            method=self.method,
            accuracy=self.accuracy,
            electronic_temperature=self.electronic_temperature_K,
            max_iterations=self.max_iterations,
            charge=self.charge,
            verbosity=0,
        )
