"""Angular symmetry functions: which widths, shifts, exponents and signs an ACSF descriptor resolves angles with."""

from abc import ABC, abstractmethod
from typing import Annotated, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Len

from nnpx.errors import ConfigError
from nnpx.units import bohr

#: η (Å⁻²), r_s (Å), λ and ζ, one of each per function
Parameters = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class AngularSet(ABC):
    """The parameters of angular functions: η (Å⁻²), r_s (Å), λ and ζ, one of each per function."""

    @abstractmethod
    def parameters(self, radius: float) -> Parameters:
        """η (Å⁻²), r_s (Å), λ, ζ as float64 vectors of equal length."""


@final
class CentredGrid(AngularSet):
    """Every combination of centred widths, λ and ζ; the widths follow the recipe of Imbalzano et al. 2018, doi:10.1063/1.5024611.

        η_m = (n^{m/n} / r_c)²,  m = 0 … n,  r_s = 0

    Args:
        n_widths: n + 1, the number of widths.
        zetas: exponents ζ: the larger, the sharper the angular resolution.
        lambdas: λ = +1 has its maximum at 0°, −1 at 180°.
    """

    def __init__(
        self,
        *,
        n_widths: Annotated[int, Ge(2)],
        zetas: Annotated[list[Annotated[float, Ge(1)]], Len(1)],
        lambdas: Annotated[list[float], Len(1)],
    ) -> None:
        self.n_widths, self.zetas, self.lambdas = n_widths, zetas, lambdas

    def parameters(self, radius: float) -> Parameters:
        """η (Å⁻²), r_s (Å), λ, ζ."""
        n = self.n_widths - 1
        widths = (n ** (np.arange(self.n_widths) / n) / radius) ** 2
        return _columns([(eta, 0.0, lam, zeta) for eta in widths for zeta in self.zetas for lam in self.lambdas])


@final
class ShiftedGrid(AngularSet):
    """Every combination of shifted radial shells, λ and ζ: shells of equal width on a linear grid (Gastegger et al. 2018).

        r_{s,m} = linspace(r_min, r_c, n + 1)_m without the last,  η = 1 / (2 Δ²),  Δ the spacing      doi:10.1063/1.5019667

    Args:
        r_min: first shell, Å: a little below the shortest bond.
        n_shells: n, the number of shells.
        zetas: exponents ζ.
        lambdas: λ = +1 or −1.
    """

    def __init__(
        self,
        *,
        r_min: Annotated[float, Ge(0)],
        n_shells: Annotated[int, Ge(1)],
        zetas: Annotated[list[Annotated[float, Ge(1)]], Len(1)],
        lambdas: Annotated[list[float], Len(1)],
    ) -> None:
        self.r_min, self.n_shells, self.zetas, self.lambdas = r_min, n_shells, zetas, lambdas

    def parameters(self, radius: float) -> Parameters:
        """η (Å⁻²), r_s (Å), λ, ζ."""
        shells = np.linspace(self.r_min, radius, self.n_shells + 1)
        eta = 1.0 / (2.0 * (shells[1] - shells[0]) ** 2)
        return _columns([(eta, shell, lam, zeta) for shell in shells[:-1] for zeta in self.zetas for lam in self.lambdas])


@final
class Widths(AngularSet):
    """Every combination of given widths, λ and ζ, centred on the atom.

    Args:
        etas: widths η, Å⁻².
        zetas: exponents ζ.
        lambdas: λ = +1 or −1.
    """

    def __init__(
        self,
        *,
        etas: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        zetas: Annotated[list[Annotated[float, Ge(1)]], Len(1)],
        lambdas: Annotated[list[float], Len(1)],
    ) -> None:
        self.etas, self.zetas, self.lambdas = etas, zetas, lambdas

    def parameters(self, radius: float) -> Parameters:
        """η (Å⁻²), r_s (Å), λ, ζ."""
        return _columns([(eta, 0.0, lam, zeta) for eta in self.etas for zeta in self.zetas for lam in self.lambdas])


@final
class PublishedList(AngularSet):
    """Functions given one by one, as papers print them.

    Args:
        eta_per_bohr2: η of each function, bohr⁻².
        lambdas: λ of each function.
        zetas: ζ of each function.

    Raises:
        ConfigError: the three lists differ in length.
    """

    def __init__(
        self,
        *,
        eta_per_bohr2: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        lambdas: Annotated[list[float], Len(1)],
        zetas: Annotated[list[Annotated[float, Ge(1)]], Len(1)],
    ) -> None:
        if not len(eta_per_bohr2) == len(lambdas) == len(zetas):
            raise ConfigError(
                "descriptor.angular",
                expected="eta_per_bohr2, lambdas and zetas of equal length",
                found=f"{len(eta_per_bohr2)}, {len(lambdas)} and {len(zetas)} values",
                do="Give one value of each per function.",
            )
        eta = torch.tensor(eta_per_bohr2, dtype=torch.float64) / bohr**2
        self._parameters = (
            eta,
            torch.zeros_like(eta),
            torch.tensor(lambdas, dtype=torch.float64),
            torch.tensor(zetas, dtype=torch.float64),
        )

    def parameters(self, radius: float) -> Parameters:
        """η (Å⁻²), r_s (Å), λ, ζ."""
        return self._parameters


@final
class Several(AngularSet):
    """All functions of several sets: with centred and shifted ones, a pool from which `nnpx select` chooses (doi:10.1063/1.5024611).

    Args:
        sets: the sets; a function that two of them have counts once.
    """

    def __init__(self, *, sets: Annotated[list[AngularSet], Len(1)]) -> None:
        self.sets = sets

    def parameters(self, radius: float) -> Parameters:
        """η (Å⁻²), r_s (Å), λ, ζ."""
        eta, shift, lam, zeta = (torch.cat(columns) for columns in zip(*(one.parameters(radius) for one in self.sets), strict=True))
        return eta, shift, lam, zeta


def _columns(rows: list[tuple[float, float, float, float]]) -> Parameters:
    eta, shift, lam, zeta = torch.tensor(rows, dtype=torch.float64).unbind(1)
    return eta, shift, lam, zeta
