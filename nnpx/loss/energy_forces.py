"""Squared errors of energy, forces and stress."""

from typing import Annotated, final

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from nnpx.graph import AtomicGraph, Prediction
from nnpx.loss import Loss, difference, mean_of_labelled
from nnpx.wiring import Wired


@final
class EnergyForces(Loss):
    """Weighted mean squared errors of the energy per atom, the force components and the virial per atom.

        L = [ w_E ⟨(ΔE / √N)²⟩ / Å² + w_F ⟨ΔF²⟩ + w_S ⟨(volume · Δstress)² / N⟩ / Å² ] / F_rms²

    The error of an energy is divided by √N: errors of atoms are taken as independent, so that large and small structures count alike.

    Args:
        forces_rms: F_rms, root mean square force component of the training set, eV/Å.
        energy_weight: w_E.
        forces_weight: w_F.
        stress_weight: w_S; counts only where stress is labelled.
    """

    def __init__(
        self,
        *,
        forces_rms: Wired[float],
        energy_weight: Annotated[float, Ge(0)],
        forces_weight: Annotated[float, Ge(0)],
        stress_weight: Annotated[float, Ge(0)],
    ) -> None:
        super().__init__()
        self.energy_weight, self.forces_weight, self.stress_weight = energy_weight, forces_weight, stress_weight
        self.unit = forces_rms**2

    def forward(self, prediction: Prediction, graph: AtomicGraph) -> Float[Tensor, ""]:
        """L of a batch."""
        n_atoms = graph.atoms_per_structure()
        energy = mean_of_labelled(difference(prediction.energy, graph.energy).square() / n_atoms, graph.energy)
        forces = mean_of_labelled(difference(prediction.forces, graph.forces).square(), graph.forces)
        loss = self.energy_weight * energy.to(forces.dtype) + self.forces_weight * forces
        if graph.periodic:
            per_atom = graph.volume.nan_to_num().square() / n_atoms
            error = difference(prediction.stress, graph.stress).square() * per_atom[:, None, None]
            loss = loss + self.stress_weight * mean_of_labelled(error, graph.stress)
        return loss / self.unit
