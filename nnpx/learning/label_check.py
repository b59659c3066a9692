"""Is a label what the reference engine claims: are its forces the slope of its energy?"""

from dataclasses import dataclass
from typing import Annotated, Final, final

import numpy as np
from annotated_types import Ge, Gt
from ase import Atoms
from jaxtyping import Float

from nnpx.data.frames import geometry, labels
from nnpx.data.jobs import Batch, Engine, Failure, Job
from nnpx.errors import ReferenceEngineError


@final
class LabelCheck:
    """What a label has to satisfy before anything learns from it.

        |E(R + δ u) − E(R − δ u) + 2 δ F·u| ≤ t · 2 δ |F| + E_0,   u = F/|F|

    Forces of the wrong sign, of another unit, or of another structure miss this by about 4 δ |F|. It costs two energies more, so that
    only some labels of every round are examined. E_0 = 1e-4 eV allows for the convergence of the engine.

    Every label has to be finite and its forces below a bound, and they have to sum up to nothing: shifted or turned as a whole, a
    structure has the energy that it had. With an error ε of the force on every one of N atoms,

        |Σ F| ≤ N ε,   |Σ r × F| ≤ ε Σ |r|  (without a cell; r from the centre),   ε = s + t max|F|

    Args:
        n_examined: labels of a round that are examined by displacement; the others share the engine with them.
        displacement: δ, Å; that of all atoms together.
        tolerance: t.
        max_force: eV/Å; a larger force is no label to learn from.
        same_force: s, eV/Å; by so much, and t times the largest force, the force on an atom may be wrong: it may differ so much between a
            label of the start and the same label computed again, and forces may miss their sums so far.
        same_energy: eV per atom; by so much the energy may differ.
    """

    def __init__(
        self,
        *,
        n_examined: Annotated[int, Ge(0)],
        displacement: Annotated[float, Gt(0)],
        tolerance: Annotated[float, Gt(0)],
        max_force: Annotated[float, Gt(0)],
        same_force: Annotated[float, Gt(0)],
        same_energy: Annotated[float, Gt(0)],
    ) -> None:
        self.n_examined, self.displacement, self.tolerance, self.max_force = n_examined, displacement, tolerance, max_force
        self.same_force, self.same_energy = same_force, same_energy

    def job(self, name: str, atoms: Atoms, *, examined: bool) -> "CheckedPoint":
        """The labelling of one structure."""
        step = self.displacement if examined else 0.0
        return CheckedPoint(name, atoms, step, self.tolerance, self.max_force, self.same_force)

    def difference(self, old: Atoms, new: Atoms) -> str:
        """What tells apart two labels of one structure, as far as the first has them; nothing where one engine may have given both."""
        was, now = labels(old), labels(new)
        if "forces" in was:
            off = float(np.abs(was["forces"] - now["forces"]).max())
            if off > self.same_force + self.tolerance * float(np.abs(now["forces"]).max()):
                return f"forces that differ by {off:.3g} eV/Å"
        if "energy" in was:
            off = abs(was["energy"] - now["energy"]) / len(new)
            if off > self.same_energy:
                return f"energies that differ by {off:.3g} eV per atom"
        return ""


#: eV; by so much an energy may be wrong through the convergence of the engine
_CONVERGENCE: Final = 1e-4
#: what is said of forces that do not belong to the energy: then no label of this engine is to be trusted
NO_SLOPE: Final = "forces that are not the slope of the energy"


@final
@dataclass(frozen=True)
class CheckedPoint(Job):
    """One structure to label, and how its label is checked; a label that fails becomes a `Failure`.

    Args:
        name: for messages.
        atoms: the structure; one that is labelled already is only checked.
        displacement: see `LabelCheck`; 0 for no examination.
        tolerance: see `LabelCheck`.
        max_force: see `LabelCheck`.
        same_force: see `LabelCheck`.
    """

    name: str
    atoms: Atoms
    displacement: float
    tolerance: float
    max_force: float
    same_force: float

    @property
    def size(self) -> int:
        """One label."""
        return 1

    @property
    def calls(self) -> int:
        """Calculations with the reference engine."""
        return (0 if labels(self.atoms) else 1) + (2 if self.displacement else 0)

    def run(self, engine: Engine) -> Batch:
        """Label, then check."""
        try:
            labelled = self.atoms if labels(self.atoms) else engine.label(self.atoms)
            complaint = self._complaint(labelled, engine)
        except ReferenceEngineError as error:
            return Batch([], [Failure(self.name, str(error))])
        return Batch([], [Failure(self.name, complaint)]) if complaint else Batch([labelled], [])

    def _complaint(self, labelled: Atoms, engine: Engine) -> str:
        """What is wrong with a label; nothing if it is right."""
        forces = labels(labelled)["forces"]
        strongest = float(np.linalg.norm(forces, axis=1).max())
        if strongest > self.max_force:
            return f"a force of {strongest:.3g} eV/Å, more than {self.max_force:g}"
        if unbalanced := _unbalanced(labelled, forces, self.same_force + self.tolerance * strongest):
            return unbalanced
        size = float(np.linalg.norm(forces))
        if not self.displacement or size == 0.0:
            return ""
        ahead, behind = (self._energy(labelled, sign * self.displacement * forces / size, engine) for sign in (1, -1))
        expected, found = -2 * self.displacement * size, ahead - behind
        if abs(found - expected) <= self.tolerance * abs(expected) + _CONVERGENCE:
            return ""
        return f"{NO_SLOPE}, which changes by {found:.4g} eV along them where they say {expected:.4g} eV"

    def _energy(self, labelled: Atoms, shift: np.ndarray, engine: Engine) -> float:
        moved = geometry(labelled, info={})
        moved.positions += shift
        return float(labels(engine.label(moved))["energy"])


def _unbalanced(atoms: Atoms, forces: Float[np.ndarray, "atom 3"], error: float) -> str:
    """What forces (eV/Å) miss that no structure exerts on itself, beyond an error of each of them; nothing if they do not."""
    net = float(np.linalg.norm(forces.sum(0)))
    if net > len(atoms) * error:
        return f"forces whose sum is {net:.3g} eV/Å, where a structure by itself feels none"
    if atoms.pbc.any() or np.any(np.asarray(atoms.cell)):
        return ""
    arms = atoms.positions - atoms.positions.mean(0)
    torque = float(np.linalg.norm(np.cross(arms, forces).sum(0)))
    if torque > error * float(np.linalg.norm(arms, axis=1).sum()):
        return f"forces whose torque is {torque:.3g} eV, where a structure by itself feels none"
    return ""
