"""Reference engines that count, and that fail in every way an engine can."""

import faulthandler
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators import emt
from ase.calculators.calculator import Calculator, all_changes
from ase.cluster import Octahedron

#: the file that gets one line per calculation
COUNT = "NNPX_TEST_CALLS"
#: a file; as long as it exists no calculation succeeds
OUTAGE = "NNPX_TEST_OUTAGE"
#: a fault, a colon, and the name of the structure that it strikes, as it stands in the file that counts; every one without a name
FAULT = "NNPX_TEST_FAULT"
#: a file that a calculation with the fault `wait` waits for before it ends
GO = "NNPX_TEST_GO"


class Counted(Calculator):
    """Effective medium theory that leaves a trace of every calculation, and misbehaves as asked where the first atom is tagged by its x.

    `fault` strikes structures whose first atom lies beyond x = `beyond`.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, fault: str = "", beyond: float = -1e9, **unused: float) -> None:
        super().__init__()
        self.fault, self.beyond = fault, beyond

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        name = name_of(self.atoms)
        if COUNT in os.environ:
            with Path(os.environ[COUNT]).open("a") as file:
                file.write(name + "\n")
        if Path(os.environ.get(OUTAGE, "none")).is_file():
            raise RuntimeError("no licence")
        bare = self.atoms.copy()
        bare.calc = emt.EMT()
        energy, forces = bare.get_potential_energy(), bare.get_forces()
        self.results = {"energy": energy, "forces": forces}
        if self.fault and self.atoms.positions[0, 0] > self.beyond:
            self._fail(self.fault, energy, forces)
        fault, _, struck = os.environ.get(FAULT, "").partition(":")
        if fault and struck in ("", name):
            self._fail(fault, energy, forces)

    def _fail(self, fault: str, energy: float, forces: np.ndarray) -> None:
        if fault == "slow":
            time.sleep(0.6)
        elif fault == "wait":
            while not Path(os.environ[GO]).is_file():
                time.sleep(0.01)
        elif fault == "program":
            subprocess.run(["sleep", "97.25"], check=True)
        elif fault == "hang":
            time.sleep(600)
        elif fault == "crash":
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "raise":
            raise RuntimeError("the cycle did not converge")
        elif fault == "odd":
            raise LookupError("something that no engine should raise")
        self.results.update(_wrong(fault, forces))


def _wrong(fault: str, forces: np.ndarray) -> dict[str, Any]:
    """What an engine says that gives an answer, but a wrong one; turned forces are given in axes of its own."""
    answers = {
        "nan": {"energy": float("nan")},
        "sign": {"forces": -forces},
        "unit": {"forces": forces * 1.88973},
        "turned": {"forces": forces[:, [1, 2, 0]]},
        "drift": {"forces": forces + 2.0},
    }
    return answers.get(fault, {})


def name_of(atoms: Any) -> str:
    """By which a structure is known in the file that counts."""
    return hashlib.sha256(atoms.positions.tobytes()).hexdigest()[:16]


def copper(seed: int, shift: float = 0.0) -> Atoms:
    """Six displaced atoms; the first lies near `shift` in x."""
    atoms = Octahedron("Cu", 2)
    atoms.positions += 0.1 * np.random.default_rng(seed).standard_normal((len(atoms), 3))
    atoms.positions[:, 0] += shift - atoms.positions[0, 0]
    return atoms
