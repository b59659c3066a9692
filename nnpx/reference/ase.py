"""Any ASE calculator, by its dotted path."""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, final

from annotated_types import Gt
from ase.calculators.calculator import BaseCalculator

from nnpx.errors import ReferenceEngineError
from nnpx.reference import Reference, missing


@final
class ASE(Reference):
    """Whatever engine ASE can drive: GPAW, Quantum ESPRESSO, CP2K, ORCA, a machine-learned potential.

    The path is imported and called. That is safe only because the user writes it in a configuration on their own machine; a
    reference engine is never built from an artifact or from anything downloaded.

    Args:
        calculator: dotted path of the calculator's class, such as `gpaw.GPAW`.
        parameters: its keyword arguments, in ASE's units.
        level_of_theory: what the card says about these labels; null writes path and parameters.
        n_processes: see `Reference`.
    """

    def __init__(
        self,
        *,
        calculator: str,
        parameters: dict[str, Any],
        level_of_theory: str | None,
        n_processes: Annotated[int, Gt(0)] | None,
    ) -> None:
        super().__init__(n_processes=n_processes)
        self.path, self.parameters, self.stated = calculator, parameters, level_of_theory

    @property
    def level_of_theory(self) -> str:
        """What the user stated, or path, parameters and version."""
        if self.stated is not None:
            return self.stated
        package = self.path.split(".")[0]
        try:
            release = version(package)
        except PackageNotFoundError:
            release = "version unknown"
        parameters = ", ".join(f"{key}={value}" for key, value in sorted(self.parameters.items()))
        return f"{self.path}({parameters}) ({package} {release})"

    def calculator(self) -> BaseCalculator:
        """Import the class and call it with the parameters.

        Raises:
            ReferenceEngineError: no such module or class, or arguments that it does not take.
        """
        module, _, name = self.path.rpartition(".")
        try:
            engine = getattr(importlib.import_module(module), name)
        except (ImportError, ValueError) as error:
            raise missing(self.path, f"pip install {self.path.split('.')[0]}, or correct reference.calculator") from error
        except AttributeError as error:
            raise ReferenceEngineError(
                "reference.calculator", expected=f"a class in the module {module}", found=name, do="Correct the dotted path."
            ) from error
        try:
            built = engine(**self.parameters)
        except TypeError as error:
            raise ReferenceEngineError(
                "reference.parameters", expected=f"arguments of {self.path}", found=str(error), do="Correct reference.parameters."
            ) from error
        if not isinstance(built, BaseCalculator):
            raise ReferenceEngineError(
                "reference.calculator", expected="an ASE calculator", found=type(built).__name__, do="Correct the dotted path."
            )
        return built
