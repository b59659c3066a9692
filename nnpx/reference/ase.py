"""Any ASE calculator, by its dotted path."""

import importlib
import inspect
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, final

from ase.calculators.calculator import BadConfiguration, BaseCalculator

from nnpx.errors import ReferenceEngineError
from nnpx.reference import Reference, missing
from nnpx.reference.folders import new_folder
from nnpx.trusted import reach, trusted_packages

#: modules of ASE whose calculators compute in this process and read no file
HARMLESS: Final = ("ase.calculators.emt", "ase.calculators.lj", "ase.calculators.morse")

_KEEP: Final = "To look at the files of the engine, have them kept: reference.parameters.directory=FOLDER changes no label."


@final
class ASE(Reference):
    """Whatever engine ASE can drive: GPAW, Quantum ESPRESSO, CP2K, ORCA, a machine-learned potential.

    Many calculators start programs that their parameters name, and a composed experiment may come from anywhere. So a package has to be
    trusted by the user (`trusted=[gpaw]` on the command line) before it is imported, unless the calculator is one of `HARMLESS`, and what
    is called must be the class of a calculator. A reference engine is never built from a saved potential.

    Every calculator has a folder of its own: a program that finds the files of another structure takes them for its own, and several run at
    once. It is a temporary one that goes with the calculator; with `parameters.directory` one in that directory, which stays.

    Args:
        calculator: dotted path of the calculator's class, such as `gpaw.GPAW`; a function that makes one is refused.
        parameters: its keyword arguments, in ASE's units; files that they name by absolute paths.
        level_of_theory: what the card says about these labels; null writes path and parameters.
    """

    def __init__(
        self,
        *,
        calculator: str,
        parameters: dict[str, Any],
        level_of_theory: str | None,
    ) -> None:
        self.path, self.parameters, self.stated = calculator, parameters, level_of_theory

    @property
    def level_of_theory(self) -> str:
        """What the user stated, or path, parameters and version."""
        return self.identity if self.stated is None else self.stated

    @property
    def identity(self) -> str:
        """Path, parameters and version, whatever the user calls them: two engines may be called by the same words."""
        package = self.path.split(".")[0]
        try:
            release = version(package)
        except PackageNotFoundError:
            release = "version unknown"
        parameters = ", ".join(f"{key}={value}" for key, value in sorted(self.parameters.items()) if key != "directory")
        return f"{self.path}({parameters}) ({package} {release})"

    def calculator(self) -> BaseCalculator:
        """Import the class and call it with the parameters.

        Raises:
            ReferenceEngineError: a package that is not trusted, no such class, no calculator, or arguments that it does not take.
        """
        engine, kept_in = self._class(), self.parameters.get("directory")
        try:
            folder = new_folder(None if kept_in is None else str(kept_in))
        except OSError as error:
            where, expected = "reference.parameters.directory", "a folder that can be written to"
            raise ReferenceEngineError(where if kept_in else "TMPDIR", expected=expected, found=str(error), do="Name another.") from error
        try:
            calculator = self._in(folder.path, engine)
        except BaseException:
            folder.remove()
            raise
        if kept_in is None:
            folder.goes_with(calculator)
        return calculator

    def _in(self, folder: Path, engine: type[BaseCalculator]) -> BaseCalculator:
        """A calculator that works in the folder."""
        parameters = {key: value for key, value in self.parameters.items() if key != "directory"}
        is_told = "directory" in inspect.signature(engine).parameters
        try:
            calculator = engine(**parameters, **({"directory": str(folder)} if is_told else {}))
        except (TypeError, BadConfiguration, *self.failures) as error:
            found = f"{type(error).__name__}: {' '.join(str(error).split())}"
            do = "Correct reference.parameters, or what ASE has to be told of the program (~/.config/ase/config.ini)."
            raise ReferenceEngineError(
                "reference.parameters", expected=f"arguments of {self.path} with which it can begin", found=found, do=do
            ) from error
        if not is_told and hasattr(calculator, "directory"):
            calculator.directory = str(folder)
        return calculator

    def advice(self, calculator: BaseCalculator) -> str:
        """Where to look."""
        kept = self.parameters.get("directory") is not None and hasattr(calculator, "directory")
        return f"{super().advice(calculator)} {f'The files of the engine are in {calculator.directory}.' if kept else _KEEP}"

    def _class(self) -> type[BaseCalculator]:
        module, _, name = self.path.rpartition(".")
        package = self.path.split(".")[0]
        if module not in HARMLESS and package not in trusted_packages():
            do = f"If you want it to run, say trusted=[{package}] on the command line; otherwise do not use this configuration."
            raise ReferenceEngineError("reference.calculator", expected="a package that you trust", found=self.path, do=do)
        reach(package)
        try:
            engine = getattr(importlib.import_module(module), name)
        except (ImportError, ValueError) as error:
            raise _not_imported(self.path, error) from error
        except AttributeError as error:
            raise ReferenceEngineError(
                "reference.calculator", expected=f"a class in the module {module}", found=name, do="Correct the dotted path."
            ) from error
        if not (inspect.isclass(engine) and issubclass(engine, BaseCalculator)):
            raise ReferenceEngineError(
                "reference.calculator", expected="the class of an ASE calculator", found=self.path, do="Correct the dotted path."
            )
        return engine


def _not_imported(path: str, error: Exception) -> ReferenceEngineError:
    """The error of a class whose module, or a package that it needs, cannot be imported."""
    package, (module, _, _) = path.split(".")[0], path.rpartition(".")
    lacking = str(error.name) if isinstance(error, ModuleNotFoundError) else ""
    if lacking and lacking.split(".")[0] != package:
        return missing(lacking, f"pip install {lacking.split('.')[0]}")
    if lacking and lacking != package and module.startswith(lacking):
        return ReferenceEngineError("reference.calculator", expected=f"a module of {package}", found=lacking, do="Correct the dotted path.")
    if lacking != package:
        found = f"{type(error).__name__}: {error}"
        return ReferenceEngineError(
            "reference.calculator", expected=f"that {module} can be imported", found=found, do="Correct that module."
        )
    return ReferenceEngineError(
        "reference.calculator",
        expected=f"the package {package}, installed or in {Path.cwd()} or above it",
        found="neither",
        do=f"Install it, run nnpx in the folder that holds {package}/ or below it, or correct the dotted path.",
    )
