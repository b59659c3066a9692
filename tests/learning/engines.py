"""Reference engines that count, and that fail in every way an engine can."""

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase.calculators import emt
from ase.calculators.calculator import Calculator, all_changes

#: the file that gets one line per calculation
COUNT = "NNPX_TEST_CALLS"
#: a file; as long as it exists no calculation succeeds
OUTAGE = "NNPX_TEST_OUTAGE"


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
        name = hashlib.sha256(self.atoms.positions.tobytes()).hexdigest()[:16]
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
            self._fail(energy, forces)

    def _fail(self, energy: float, forces: np.ndarray) -> None:
        if self.fault == "slow":
            time.sleep(0.6)
        elif self.fault == "hang":
            time.sleep(600)
        elif self.fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.fault == "raise":
            raise RuntimeError("the cycle did not converge")
        elif self.fault == "odd":
            raise LookupError("something that no engine should raise")
        elif self.fault == "nan":
            self.results["energy"] = float("nan")
        elif self.fault == "sign":
            self.results["forces"] = -forces
        elif self.fault == "unit":
            self.results["forces"] = forces * 1.88973
