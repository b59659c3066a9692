"""How far a prediction may be from the truth: the spread of an ensemble made into a standard deviation that means what it says.

    σ = f(s),   f fitted to the errors of structures that were not trained on, apart for energies and forces
    s = σ_V / N, the spread of the energy per atom, or s_i = √(⅓ Σ_x σ_ix²), the spread of the force components of atom i

Members have seen the same data, so they agree more than they should, and a spread of four members is itself uncertain by 40 %; but where it
is large, errors are large. How f is found is the config group: a subclass of `Uncertainty`. A force has the same σ in all directions, so
that turning a structure does not change it. Noise of the labels (`noise`, aleatoric) is no part of σ (epistemic): of an error, f is charged
with what the noise does not explain.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.graph import AtomicGraph, Prediction

Samples = Float[np.ndarray, " sample"]

#: quantities whose spread is calibrated, with the unit of s and σ
QUANTITIES: Final = {"energy": "eV/atom", "forces": "eV/Å"}


@final
@dataclass(frozen=True)
class Curve:
    """f: straight between knots, and beyond the last one along the line from the origin through it, so that σ grows off the data.

    Args:
        spread: s of the knots, rising from 0.
        std: σ of the knots, never falling.
    """

    spread: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def factor(cls, c: float) -> "Curve":
        """σ = c s."""
        return cls((0.0, 1.0), (0.0, float(c)))

    def __call__(self, spread: Float[Tensor, "*sample"]) -> Float[Tensor, "*sample"]:
        """σ of every s; NaN stays NaN."""
        x, y = spread.new_tensor(self.spread), spread.new_tensor(self.std)
        right = torch.searchsorted(x, spread.contiguous()).clamp(1, len(x) - 1)
        slope = torch.diff(y) / torch.diff(x)
        inside = y[right - 1] + slope[right - 1] * (spread - x[right - 1])
        return torch.where(spread > x[-1], spread * (y[-1] / x[-1]), inside)


@final
@dataclass(frozen=True)
class Calibration:
    """The curves of an ensemble; a quantity without one keeps the spread of its members as it is.

    Args:
        curves: by quantity, `energy` and `forces`.
    """

    curves: Mapping[str, Curve] = field(default_factory=dict)

    def __call__(self, prediction: Prediction, graph: AtomicGraph) -> Prediction:
        """The prediction with calibrated `energy_std` and `forces_std`."""
        if "energy" in self.curves:
            n_atoms = torch.bincount(graph.owner, minlength=graph.n_structures)
            prediction = replace(prediction, energy_std=n_atoms * self.curves["energy"](prediction.energy_std / n_atoms))
        if "forces" in self.curves:
            std = self.curves["forces"](root_mean_square(prediction.forces_std))
            prediction = replace(prediction, forces_std=std.expand_as(prediction.forces_std))
        return prediction

    def for_json(self) -> dict[str, Any]:
        """The knots by quantity."""
        return {name: asdict(curve) for name, curve in self.curves.items()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Calibration":
        """What `for_json` gave."""
        return cls({name: Curve(tuple(one["spread"]), tuple(one["std"])) for name, one in saved.items()})


class Uncertainty(ABC):
    """A way to find f."""

    @abstractmethod
    def curve(self, error: Samples, spread: Samples, noise: Samples) -> Curve | None:
        """The curve of a quantity; None, where these samples determine none, keeps the spread as it is.

        Args:
            error: prediction minus label, of structures that were not trained on.
            spread: s of the same samples, positive.
            noise: known standard deviation of the labels, 0 where there is none.
        """


def root_mean_square(spread: Float[Tensor, "atom 3"]) -> Float[Tensor, "atom 1"]:
    """s_i = √(⅓ Σ_x σ_ix²)."""
    return spread.square().mean(1, keepdim=True).sqrt()
