"""Scores of a predicted distribution: what an error costs depends on how large an error was expected."""

from abc import abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from nnpx.errors import ConfigError
from nnpx.graph import AtomicGraph, Prediction
from nnpx.loss import Loss, difference, mean_of_labelled
from nnpx.wiring import Wired


class Scores(Loss):
    """Weighted mean scores of energies per atom and force components that are predicted as normal distributions.

        L = w_E ⟨S(ΔE / √N, σ_E² / N)⟩ + w_F ⟨S(ΔF, σ_F²)⟩,   errors and widths in units of F_rms (and Å)
        σ² = spread² + noise² + b² + σ₀²

    spread is that of the heads of a shallow ensemble and noise that of the labels, each where the potential predicts it; where it predicts
    both, the data determine their sum alone. b is the error bar of a label of the energy where the data give one, as those of quantum
    Monte Carlo do: with it alone, energies count by 1/b². Energy and forces count together: widths that are fitted to energies alone spoil
    the forces (Kellner & Ceriotti 2024, doi:10.1088/2632-2153/ad594a). A label of stress does not count: its spread is not predicted.

    Args:
        forces_rms: F_rms, root mean square force component of the training set, eV/Å.
        knows_energy_std: whether energies have a width: the potential predicts a spread or a noise, or labels have error bars.
        knows_forces_std: whether forces have one, or there are none: without a width they would count as exact.
        energy_weight: w_E.
        forces_weight: w_F.
        smallest: σ₀, so that no prediction counts as exact, in units of F_rms (and Å).

    Raises:
        ConfigError: what has a weight has no width.
    """

    def __init__(
        self,
        *,
        forces_rms: Wired[float],
        knows_energy_std: Wired[bool],
        knows_forces_std: Wired[bool],
        energy_weight: Annotated[float, Ge(0)],
        forces_weight: Annotated[float, Ge(0)],
        smallest: Annotated[float, Gt(0)],
    ) -> None:
        super().__init__()
        if (energy_weight > 0 and not knows_energy_std) or (forces_weight > 0 and not knows_forces_std):
            found = "one head, no noise" + (" and error bars of the energies alone" if knows_energy_std else " and no error bars")
            without = "loss.forces_weight=0" if knows_energy_std else "loss=energy_forces"
            do = f"Choose ensemble=shallow or noise=heteroscedastic, or {without}."
            raise ConfigError("loss", expected="energies and forces that say how far from the truth they may be", found=found, do=do)
        self.energy_weight, self.forces_weight = energy_weight, forces_weight
        self.fits_spread = energy_weight > 0 and forces_weight > 0
        self.unit, self.floor = forces_rms, smallest**2

    @abstractmethod
    def score(self, error: Float[Tensor, "*label"], variance: Float[Tensor, "*label"]) -> Float[Tensor, "*label"]:
        """S of errors whose expected squares are given; least, for a given error, where these are right."""

    def forward(self, prediction: Prediction, graph: AtomicGraph, progress: float) -> Float[Tensor, ""]:
        """L of a batch, the same at any progress."""
        width = graph.atoms_per_structure().double().sqrt() * self.unit
        energy_widths = (prediction.energy_std, prediction.energy_noise, graph.energy_noise)
        energy = self._mean(prediction.energy, graph.energy, energy_widths, width)
        forces = self._mean(
            prediction.forces, graph.forces, (prediction.forces_std, prediction.forces_noise), width.new_full((), self.unit)
        )
        return self.energy_weight * energy.to(forces.dtype) + self.forces_weight * forces

    def _mean(self, predicted: Tensor, labels: Tensor, widths: tuple[Tensor, ...], unit: Tensor) -> Float[Tensor, ""]:
        unit = unit.to(predicted.dtype)
        variance = sum((torch.nan_to_num(width / unit).square() for width in widths), torch.full_like(predicted, self.floor))
        return mean_of_labelled(self.score(difference(predicted, labels) / unit, variance), labels)
