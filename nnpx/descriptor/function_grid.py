"""Angular functions as a grid: each radial part η, r_s and each angular part λ, ζ is evaluated once, whichever of them are combined."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.descriptor.angular import Parameters


@final
class FunctionGrid(nn.Module):
    """The different shells (η, r_s) and cones (λ, ζ) of a set of functions, and which combinations of them are functions.

    Args:
        parameters: η (Å⁻²), r_s (Å), λ and ζ, one of each per function.

    Attributes:
        n_functions: how many functions, in ascending order of η, r_s, λ, ζ.
    """

    eta: Tensor
    shift: Tensor
    lam: Tensor
    zeta: Tensor
    chosen: Tensor

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        eta, shift, lam, zeta = parameters
        shells, shell_of = torch.unique(torch.stack([eta, shift], 1), dim=0, return_inverse=True)
        cones, cone_of = torch.unique(torch.stack([lam, zeta], 1), dim=0, return_inverse=True)
        chosen = torch.unique(shell_of * len(cones) + cone_of)
        buffers = {"eta": shells[:, 0], "shift": shells[:, 1], "lam": cones[:, 0], "zeta": cones[:, 1], "chosen": chosen}
        for name, values in buffers.items():
            self.register_buffer(name, values.clone(), persistent=False)
        self.every_combination = len(chosen) == len(shells) * len(cones)
        self.n_functions = len(chosen)

    def of_functions(self, grid: Float[Tensor, "row combination"]) -> Float[Tensor, "row feature"]:
        """From all combinations of shells and cones those that are functions."""
        return grid if self.every_combination else grid.index_select(1, self.chosen)

    def names(self) -> list[str]:
        """`eta=… shift=… lambda=… zeta=…` of every function."""
        shell, cone = self.chosen // len(self.lam), self.chosen % len(self.lam)
        values = (self.eta[shell], self.shift[shell], self.lam[cone], self.zeta[cone])
        functions = zip(*(value.tolist() for value in values), strict=True)
        return [f"eta={eta:.4f} shift={s:.2f} lambda={lam:+g} zeta={z:g}" for eta, s, lam, z in functions]
