"""Reference engines: the quantum (or classical) mechanics that labels structures.

An engine answers one question: what are the energy, the forces and, for a crystal, the stress of this structure? Whatever it
uses inside, the answer comes in eV, eV/Å and eV/Å³ with ASE's sign of stress (negative under compression). A new engine is a
subclass of `Reference` that says its level of theory and builds an ASE calculator.
"""

import subprocess
from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, ground_state_magnetic_moments

from nnpx.errors import ReferenceEngineError


def potential_energy(atoms: Atoms) -> float:
    """V (eV), whose slope the forces are: where an engine smears occupations, its free energy, and only that is conserved."""
    energy = float(atoms.get_potential_energy())
    return float(getattr(atoms.calc, "results", {}).get("free_energy", energy))


class Reference(ABC):
    """A level of theory and the calculator that evaluates it."""

    @final
    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What a calculator raises when it does not answer for one structure; a missing module is not among them."""
        of_readers = (LookupError, StopIteration, AssertionError)
        return (RuntimeError, ArithmeticError, ValueError, OSError, subprocess.SubprocessError, *of_readers)

    @property
    @abstractmethod
    def level_of_theory(self) -> str:
        """Method, its parameters and the version of the engine, in words: goes to the card and into the artifact."""

    @property
    def identity(self) -> str:
        """Changes with whatever changes a label: what was computed before is used again only for the same identity."""
        return self.level_of_theory

    @abstractmethod
    def calculator(self) -> BaseCalculator:
        """A fresh ASE calculator.

        Raises:
            ReferenceEngineError: the engine is not installed.
        """

    def advice(self, calculator: BaseCalculator) -> str:
        """What to do about a calculation that failed."""
        return "Look at the geometry, at the program of the engine and the room on its disk, or loosen its convergence."

    def neutral(self) -> "Reference":
        """The same level of theory for what has no charge, and whose spin state is given by its magnetic moments."""
        return self

    @final
    def label(self, atoms: Atoms) -> Atoms:
        """A copy of the structure with energy (eV), forces (eV/Å) and, if periodic in all directions, stress (eV/Å³).

        A fresh calculator computes it: the label does not remember what was labelled before.

        Args:
            atoms: the structure; its constraints do not touch the forces.

        Raises:
            ReferenceEngineError: the engine failed, or answered with a number that is not finite.
        """
        calculator, bare = self.calculator(), atoms.copy()
        bare.set_constraint()
        bare.calc = calculator
        try:
            results: dict[str, Any] = {"energy": potential_energy(bare), "forces": np.array(bare.get_forces(), dtype=np.float64)}
            if all(bare.pbc) and "stress" in calculator.implemented_properties:
                results["stress"] = np.array(bare.get_stress(voigt=True), dtype=np.float64)
        except self.failures as error:
            raise ReferenceEngineError(
                self.level_of_theory,
                expected=f"an energy and forces of {bare.get_chemical_formula()}",
                found=f"{type(error).__name__}: {' '.join(str(error).split())}",
                do=self.advice(calculator),
            ) from error
        if not all(np.all(np.isfinite(value)) for value in results.values()):
            raise ReferenceEngineError(
                self.level_of_theory,
                expected=f"finite numbers for {bare.get_chemical_formula()}",
                found="nan or infinity",
                do="Look at the geometry.",
            )
        bare.calc = SinglePointCalculator(bare, **results)
        return bare

    @final
    def isolated_atom(self, symbol: str) -> float:
        """Energy (eV) of one neutral atom in vacuum, in the spin state of its ground state, whatever charge the structures have.

        Raises:
            ReferenceEngineError: the engine does not converge for this atom.
        """
        moment = float(ground_state_magnetic_moments[atomic_numbers[symbol]])
        labelled = self.neutral().label(Atoms(symbol, magmoms=[moment]))
        return float(labelled.get_potential_energy())


def missing(package: str, command: str) -> ReferenceEngineError:
    """The error of an engine whose package is not installed; `command` installs it."""
    return ReferenceEngineError(
        f"reference engine {package}", expected=f"the package {package}", found="that it is not installed", do=f"Run: {command}"
    )
