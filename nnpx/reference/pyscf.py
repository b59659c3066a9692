"""Density-functional theory of molecules through PySCF."""

from copy import copy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, final

import numpy as np
from annotated_types import Ge, Gt, Le
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculationFailed, Calculator, InputError, all_changes
from ase.units import Bohr, Hartree

from nnpx.reference import Reference, missing


@final
class PySCF(Reference):
    """Kohn–Sham DFT with Gaussian orbitals and analytic gradients (PySCF, doi:10.1063/5.0006074); molecules only.

    Args:
        functional: exchange and correlation by PySCF's name, such as `b3lyp` or `wb97x-d3`.
        basis: Gaussian basis, such as `def2-svp`.
        charge: total charge, e.
        n_unpaired: unpaired electrons 2S; null takes the structure's magnetic moments, else the lowest possible.
        density_fitting: whether Coulomb integrals are fitted; several times faster at an error far below the functional's.
        grid_level: quality of the integration grid, 0 to 9.
        convergence: change of the energy that ends the self-consistent cycle, hartree.
        max_cycles: cycles after which a structure counts as not converged.
    """

    def __init__(
        self,
        *,
        functional: str,
        basis: str,
        charge: int,
        n_unpaired: Annotated[int, Ge(0)] | None,
        density_fitting: bool,
        grid_level: Annotated[int, Ge(0), Le(9)],
        convergence: Annotated[float, Gt(0)],
        max_cycles: Annotated[int, Gt(0)],
    ) -> None:
        self.functional, self.basis, self.charge, self.n_unpaired = functional, basis, charge, n_unpaired
        self.density_fitting, self.grid_level = density_fitting, grid_level
        self.convergence, self.max_cycles = convergence, max_cycles

    @property
    def level_of_theory(self) -> str:
        """Functional, basis, charge, spin where it is given, and version."""
        try:
            release = version("pyscf")
        except PackageNotFoundError:
            release = "not installed"
        fitting = ", density fitting" if self.density_fitting else ""
        spin = "" if self.n_unpaired is None else f", {self.n_unpaired} unpaired"
        return f"{self.functional}/{self.basis} (charge {self.charge}{spin}, grid {self.grid_level}{fitting}; pyscf {release})"

    @property
    def identity(self) -> str:
        """With what ends the self-consistent cycle."""
        return f"{self.level_of_theory}, {self.convergence:g} hartree, {self.max_cycles} cycles"

    def neutral(self) -> Reference:
        """Without the charge and the given number of unpaired electrons."""
        other = copy(self)
        other.charge, other.n_unpaired = 0, None
        return other

    def calculator(self) -> BaseCalculator:
        """The calculator below, once PySCF is there."""
        if find_spec("pyscf") is None:
            raise missing("pyscf", 'pip install "nnpx[pyscf]"')
        return KohnSham(settings=self)


@final
class KohnSham(Calculator):  # type: ignore[misc]  # ASE is not typed
    """PySCF's energy and analytic gradient as an ASE calculator.

    Args:
        settings: the engine whose numbers are used.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, *, settings: PySCF) -> None:
        super().__init__()
        self.settings = settings

    def calculate(self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes) -> None:
        """One self-consistent field and its gradient.

        Raises:
            CalculationFailed: the cycle did not converge.
            InputError: the structure is periodic.
        """
        super().calculate(atoms, properties, system_changes)
        if any(self.atoms.pbc):
            raise InputError("this engine treats molecules only; the structure is periodic")
        field = self._mean_field(self.atoms)
        energy = field.kernel()
        if not field.converged:
            raise CalculationFailed(f"the self-consistent field did not converge in {self.settings.max_cycles} cycles")
        gradient = np.asarray(field.nuc_grad_method().kernel())
        self.results = {"energy": float(energy) * Hartree, "forces": -gradient * Hartree / Bohr}

    def _mean_field(self, atoms: Atoms) -> Any:
        from pyscf import dft, gto

        chosen = self.settings
        electrons = int(sum(atoms.numbers)) - chosen.charge
        magnetic = round(abs(float(sum(atoms.get_initial_magnetic_moments()))))
        unpaired = chosen.n_unpaired if chosen.n_unpaired is not None else max(magnetic, electrons % 2)
        molecule = gto.M(
            atom=[(symbol, tuple(position)) for symbol, position in zip(atoms.symbols, atoms.positions, strict=True)],
            basis=chosen.basis,
            charge=chosen.charge,
            spin=unpaired,
            unit="Angstrom",
            verbose=0,
        )
        field = dft.UKS(molecule) if unpaired else dft.RKS(molecule)
        field = field.density_fit() if chosen.density_fitting else field
        field.xc, field.conv_tol, field.max_cycle = chosen.functional, chosen.convergence, chosen.max_cycles
        field.grids.level = chosen.grid_level
        return field
