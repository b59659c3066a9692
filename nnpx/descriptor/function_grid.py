"""Angular functions as a grid: each radial part η, r_s and each angular part λ, ζ is evaluated once, whichever of them are combined."""

from functools import reduce
from operator import mul
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nnpx.descriptor.angular import Parameters
from nnpx.radial.bells import bells


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
    signs: Tensor
    cone: Tensor

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        eta, shift, lam, zeta = parameters
        shells, shell_of = torch.unique(torch.stack([eta, shift], 1), dim=0, return_inverse=True)
        cones, cone_of = torch.unique(torch.stack([lam, zeta], 1), dim=0, return_inverse=True)
        chosen = torch.unique(shell_of * len(cones) + cone_of)
        signs, sign_of = torch.unique(cones[:, 0], return_inverse=True)
        exponents, exponent_of = torch.unique(cones[:, 1], return_inverse=True)
        self.exponents: list[float] = exponents.tolist()
        self.every_cone = len(cones) == len(signs) * len(exponents)
        buffers = {"eta": shells[:, 0], "shift": shells[:, 1], "lam": cones[:, 0], "zeta": cones[:, 1], "chosen": chosen}
        buffers |= {"signs": signs, "cone": sign_of * len(exponents) + exponent_of}
        for name, values in buffers.items():
            self.register_buffer(name, values.clone(), persistent=False)
        self.every_combination = len(chosen) == len(shells) * len(cones)
        self.n_functions = len(chosen)

    def only(self, functions: list[int]) -> "FunctionGrid":
        """The grid of some of the functions, and of what these need."""
        eta, shift, lam, zeta = self.parameters_of_functions()
        return FunctionGrid((eta[functions], shift[functions], lam[functions], zeta[functions]))

    def parameters_of_functions(self) -> Parameters:
        """η (Å⁻²), r_s (Å), λ and ζ of every function."""
        shell, cone = self.chosen // len(self.lam), self.chosen % len(self.lam)
        return self.eta[shell], self.shift[shell], self.lam[cone], self.zeta[cone]

    def shells(self, squares: Float[Tensor, " row"], distances: Float[Tensor, " row"], n_sides: int) -> Float[Tensor, "row shell"]:
        """exp(−η Σ (r − r_s)²) from Σ r² and Σ r over n sides: the exponent is −η Σ r² + 2 η r_s Σ r − n η r_s²."""
        width, place = self.eta, self.shift
        slopes = torch.stack([-width, 2.0 * width * place])
        return bells(torch.addmm(-n_sides * width * place.square(), torch.stack([squares, distances], 1), slopes))

    def shell_slopes(
        self,
        squares: Float[Tensor, " row"],
        distances: Float[Tensor, " row"],
        n_sides: int,
        changes: Float[Tensor, "variable row 3"],
    ) -> Float[Tensor, "row variable shell"]:
        """The derivatives of an envelope E times a shell, from E ∂Σr², E ∂Σr and ∂E."""
        rates = torch.stack([-self.eta, 2.0 * self.eta * self.shift, torch.ones_like(self.eta)])
        shells = self.shells(squares, distances, n_sides)
        return torch.stack([change @ rates * shells for change in changes], 1)

    def cones(self, cosine: Float[Tensor, " row"]) -> Float[Tensor, "row cone"]:
        """2^{1−ζ} (1 + λ cos θ)^ζ."""
        return 2.0 * self._sharpened(cosine, self.exponents)

    def cone_slopes(self, cosine: Float[Tensor, " row"]) -> Float[Tensor, "row cone"]:
        """The derivatives of the cones in cos θ: ζ λ ((1 + λ cos θ) / 2)^{ζ−1}."""
        return self.zeta * self.lam * self._sharpened(cosine, [zeta - 1.0 for zeta in self.exponents])

    def _sharpened(self, cosine: Float[Tensor, " row"], exponents: list[float]) -> Float[Tensor, "row cone"]:
        """((1 + λ cos θ) / 2)^n of every cone, whose n stands in the place of its ζ."""
        # rounding may carry 1 + λ cos θ of a straight line below zero, where a broken power has no derivative
        base = (0.5 + 0.5 * self.signs * cosine[:, None]).clamp_min(0.0)
        sharpened = powers(base, exponents)
        grid = torch.stack(sharpened, 2).flatten(1) if sharpened else base
        return grid if self.every_cone else grid.index_select(1, self.cone)

    def of_functions(self, grid: Float[Tensor, "*row combination"]) -> Float[Tensor, "*row feature"]:
        """From all combinations of shells and cones those that are functions."""
        return grid if self.every_combination else grid.index_select(-1, self.chosen)

    def names(self) -> list[str]:
        """`eta=… shift=… lambda=… zeta=…` of every function."""
        functions = zip(*(values.tolist() for values in self.parameters_of_functions()), strict=True)
        return [f"eta={eta:.4f} shift={s:.2f} lambda={lam:+g} zeta={z:g}" for eta, s, lam, z in functions]


def powers(base: Float[Tensor, "row base"], exponents: list[float]) -> list[Float[Tensor, "row base"]]:
    """base^ζ for every ζ; a whole ζ by squaring, which costs a few multiplications for all of them together."""
    squares = [base]
    while 2 ** len(squares) <= max(exponents, default=0.0):
        squares.append(squares[-1] * squares[-1])
    results = []
    for exponent in exponents:
        if exponent != int(exponent) or exponent == 0.0:
            results.append(base**exponent)
        else:
            results.append(reduce(mul, [square for k, square in enumerate(squares) if int(exponent) >> k & 1]))
    return results
