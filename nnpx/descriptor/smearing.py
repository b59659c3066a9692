"""Radial functions seen through Gaussians: how a smeared neighbour projects on an orthonormal radial basis."""

from collections.abc import Callable
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ive
from torch import Tensor, nn

from nnpx.errors import ConfigError
from nnpx.radial import Radial

#: nodes of the integral over r', enough for Gaussians a hundred times narrower than the cutoff
_NODES: Final = 400
#: the series ends where its coefficients have fallen to this part of the largest one
_ACCURACY: Final = 1e-13
#: longest series that is tried
_LONGEST: Final = 512
#: smallest eigenvalue of the overlap, in parts of the largest, at which functions count as independent
_INDEPENDENT: Final = 1e-10


@final
class Smeared(nn.Module):
    """The coefficients of one neighbour at distance r, smeared to a Gaussian, in an orthonormal basis, for each l and n.

        R̃_nl(r) = √(4π (2l+1)) ∫₀^{r_c} r'² R_n(r') e^{−(r² + r'²)/2σ²} i_l(r r'/σ²) dr',   R = S^{−1/2} φ,   S_nm = ∫₀^{r_c} r² φ_n φ_m dr

    i_l is the modified spherical Bessel function; the φ are normalised first. Bartók, Kondor & Csányi 2013,
    doi:10.1103/PhysRevB.87.184115, eq. 34. The integrals are done once; what is kept of each is a Chebyshev series in r, which is exact
    to rounding because a smeared function is smooth.

    Args:
        radial: φ_n.
        l_max: highest l.
        width: σ, Å.
        radius: r_c, Å.

    Raises:
        ConfigError: the radial functions depend on each other, or are seen through Gaussians so narrow that no series resolves them.
    """

    series: Tensor

    def __init__(self, *, radial: Radial, l_max: int, width: float, radius: float) -> None:
        super().__init__()
        self.n_functions, self.l_max, self.radius = radial.n_functions, l_max, radius
        node, weight = np.polynomial.legendre.leggauss(_NODES)
        node, weight = 0.5 * radius * (node + 1.0), 0.5 * radius * weight
        with torch.no_grad():
            functions = radial(torch.from_numpy(node)).numpy()
        functions = functions / np.sqrt((weight * node**2) @ functions**2)
        basis = functions @ _inverse_root(functions.T * (weight * node**2) @ functions)

        def values(distance: Float[np.ndarray, " point"]) -> Float[np.ndarray, "point value"]:
            x = distance[:, None] * node / width**2
            gauss = weight * node**2 * np.exp(-((distance[:, None] - node) ** 2) / (2.0 * width**2)) * np.sqrt(np.pi / (2.0 * x))
            columns = [np.sqrt(4.0 * np.pi * (2 * order + 1)) * (gauss * ive(order + 0.5, x)) @ basis for order in range(l_max + 1)]
            return np.concatenate(columns, axis=1)

        length = 32
        while not _has_converged(series := _chebyshev_series(values, length, radius)):
            length *= 2
            if length > _LONGEST:
                do = "Raise descriptor.width."
                raise ConfigError(
                    "descriptor.width", expected="a width that the radius can resolve", found=f"{width} Å in {radius} Å", do=do
                )
        self.register_buffer("series", torch.from_numpy(series), persistent=False)

    def forward(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge order radial"]:
        """R̃_nl(r); beyond r_c, where a cutoff leaves nothing and the series would overflow, its value there."""
        x = (distance.clamp_max(self.radius) * (2.0 / self.radius) - 1.0)[:, None]
        polynomials = torch.cat([torch.ones_like(x), x], dim=1)
        while polynomials.shape[1] < len(self.series):  # T_{m+k} = 2 T_m T_k − T_{m−k}, for all k ≤ m at once
            last = polynomials[:, -1:]
            polynomials = torch.cat([polynomials, 2.0 * last * polynomials[:, 1:] - polynomials[:, :-1].flip(1)], dim=1)
        values = polynomials[:, : len(self.series)] @ self.series
        return values.view(-1, self.l_max + 1, self.n_functions)


def _inverse_root(overlap: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """S^{−1/2}: the orthonormal functions that are closest to the given ones."""
    value, vector = np.linalg.eigh(overlap)
    if value[0] < _INDEPENDENT * value[-1]:
        raise ConfigError(
            "radial",
            expected="functions that do not follow from each other within the cutoff",
            found=f"an overlap of condition {value[-1] / max(value[0], 1e-300):.0e}",
            do="Choose radial=bessel, or fewer functions.",
        )
    root: Float[np.ndarray, "n n"] = vector / np.sqrt(value) @ vector.T
    return root


def _chebyshev_series(values: Callable[[np.ndarray], np.ndarray], length: int, radius: float) -> Float[np.ndarray, "degree value"]:
    """Coefficients of the polynomial of degree length − 1 that takes the values at the Chebyshev points of 0 … radius."""
    angle = np.pi * (np.arange(length) + 0.5) / length
    at_points = values(0.5 * radius * (np.cos(angle) + 1.0))
    series: Float[np.ndarray, "degree value"] = 2.0 / length * np.cos(np.outer(np.arange(length), angle)) @ at_points
    series[0] *= 0.5
    return series


def _has_converged(series: Float[np.ndarray, "degree value"]) -> bool:
    """Whether the last coefficients are nothing but rounding."""
    return bool(np.abs(series[-4:]).max() < _ACCURACY * np.abs(series).max())
