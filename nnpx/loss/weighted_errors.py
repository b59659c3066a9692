"""Weighted averages of the errors of energy, forces and stress; what an error costs is left open."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from nnpx.errors import ConfigError
from nnpx.graph import AtomicGraph, Prediction
from nnpx.loss import Loss, difference, mean_of_labelled


class WeightedErrors(Loss):
    """Weighted mean costs ρ of the errors of the energy, the force components and the virial, the first and the last per √N of N atoms.

        L = [ w_E ⟨ρ(ΔE² / N Å²)⟩ + w_F ⟨w_Z ρ(ΔF²)⟩ + w_S ⟨ρ((volume · Δstress)² / N Å²)⟩ ] / F_rms²

    The error of an energy is divided by √N, and not by N: errors of atoms are taken as independent, so that large and small structures
    count alike. Where a code has (ΔE / N)², as most do, its weight of energies is N times as large for the same effect.

    Args:
        forces_rms: F_rms, root mean square force component of the training set, eV/Å.
        numbers: atomic numbers in the order of the species index.
        energy_weight: w_E.
        forces_weight: w_F.
        stress_weight: w_S; counts only where stress is labelled.
        element_weights: w_Z, what the forces on the atoms of an element weigh, as {H: 0.5}; 1 for elements left out, null: 1 for all.

    Raises:
        ConfigError: a weight is given for what is no element of the data.
    """

    def __init__(
        self,
        *,
        forces_rms: float,
        numbers: Sequence[int],
        energy_weight: float,
        forces_weight: float,
        stress_weight: float,
        element_weights: Mapping[str, float] | None,
    ) -> None:
        super().__init__()
        self.energy_weight, self.forces_weight, self.stress_weight = energy_weight, forces_weight, stress_weight
        self.unit = forces_rms**2
        self.weight_of_species: Tensor
        self.register_buffer("weight_of_species", _by_species(element_weights or {}, numbers), persistent=False)

    @abstractmethod
    def penalty(self, square: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """ρ, the cost of an error whose square is given, (eV/Å)²: zero at zero, and as steep as the square itself there."""

    def forward(self, prediction: Prediction, graph: AtomicGraph, progress: float) -> Float[Tensor, ""]:
        """L of a batch, the same at any progress."""
        n_atoms = graph.atoms_per_structure()
        energy = mean_of_labelled(self.penalty(difference(prediction.energy, graph.energy).square() / n_atoms), graph.energy)
        costs = self.penalty(difference(prediction.forces, graph.forces).square())
        forces = mean_of_labelled(costs * self.weight_of_species.to(costs.dtype)[graph.species, None], graph.forces)
        loss = self.energy_weight * energy.to(forces.dtype) + self.forces_weight * forces
        if graph.periodic:
            per_atom = graph.volume.nan_to_num().square() / n_atoms
            error = self.penalty(difference(prediction.stress, graph.stress).square() * per_atom[:, None, None])
            loss = loss + self.stress_weight * mean_of_labelled(error, graph.stress)
        return loss / self.unit


def _by_species(weights: Mapping[str, float], numbers: Sequence[int]) -> Float[Tensor, " species"]:
    """The weight of every species; 1 where none is given.

    Raises:
        ConfigError: a symbol is not one of the elements.
    """
    symbols = [chemical_symbols[number] for number in numbers]
    for symbol in weights:
        if symbol not in symbols:
            close = get_close_matches(symbol.capitalize(), symbols, n=1)
            raise ConfigError(
                f"loss.element_weights.{symbol}",
                expected=f"an element of the data ({', '.join(symbols)})",
                found=symbol,
                do=f"Did you mean {close[0]}?" if close else f"Remove {symbol}.",
            )
    return torch.tensor([weights.get(symbol, 1.0) for symbol in symbols], dtype=torch.float64)
