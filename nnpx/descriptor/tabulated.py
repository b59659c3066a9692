"""Functions of the distance as tables: what costs the same however involved they are."""

import copy
from collections.abc import Callable
from typing import Final, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.derivatives import forward_derivative
from nnpx.radial.bells import NOTHING
from nnpx.speed.eights import EIGHT

#: largest error of a table, as a part of the largest value of its function (see `SMALL`), and the most pieces to reach it with
TOLERANCE: Final = {torch.float32: 1e-8, torch.float64: 1e-12}
MOST_PIECES: Final = 4096
_FEWEST_PIECES: Final = 32
#: errors of functions smaller than this part of the largest one are compared with that part of it: Gaussians far outside the radius
SMALL: Final = 0.01
#: where tables begin and end, as a part of the radius: not at 0, where a derivative may be 0 / 0, and within the cutoff's last kink
BEGIN: Final = 0.01
END: Final = 1.0 - 1e-9
#: arguments at which functions are compared
SOME: Final = 500

#: several functions of each distance
Functions = Callable[[Float[Tensor, " edge"]], Float[Tensor, "edge function"]]
_Module = TypeVar("_Module", bound=torch.nn.Module)
#: where a table begins and ends
Span = tuple[float, float]


def tabulate(functions: Functions, span: Span, dtype: torch.dtype) -> Float[Tensor, "piece 6 function"] | None:
    """Polynomials of fifth degree on equal intervals, which join with their first two derivatives.

        f(r) = Σ_p c_sp t^p,   r = r_0 + (s + t) h,   0 ≤ t < 1        r_0 and 1/h: see `reach`

    So the energy of a table has continuous forces, which are its exact gradient, and a continuous Hessian. Coefficients below `NOTHING` of
    the largest value of their function are 0, which moves a joint by less than rounding.

    Args:
        functions: f, which can be differentiated forward twice and take float64.
        span: from r_0 to where, as `within` has it for functions of a distance.
        dtype: precision in which the table is read, and to which there are enough pieces.

    Returns:
        c, filled up to a multiple of eight functions with some that are zero, as loops take them; None where functions are not smooth
        enough, as one with a kink, or have no such derivatives.
    """
    pieces = _FEWEST_PIECES
    while pieces <= MOST_PIECES:
        try:
            table, error = _with(pieces, functions, span)
        except (MemoryError, Warning):  # say nothing of the functions
            raise
        except Exception:  # noqa: BLE001  # a function of somebody's own, which torch's transformations do not suit in one way or another
            return None
        if error <= TOLERANCE[dtype]:
            filled = torch.nn.functional.pad(table, (0, -table.shape[2] % EIGHT))
            return filled.to(dtype).contiguous()
        pieces *= 2
    return None


def within(radius: float) -> Span:
    """Where functions of a distance that end at the radius (Å) are tabulated."""
    return BEGIN * radius, END * radius


def reach(table: Float[Tensor, "piece 6 function"], span: Span, radius: float) -> Float[Tensor, " 3"]:
    """1/h (1/Å), r_0 and the radius (Å); closer than r_0 the first piece goes on."""
    return table.new_tensor([len(table) / (span[1] - span[0]), span[0], radius])


def in_float64(module: _Module) -> _Module:
    """A copy whose numbers are in float64, on the processor."""
    return copy.deepcopy(module).double().cpu()


def _with(pieces: int, functions: Functions, span: Span) -> tuple[Float[Tensor, "piece 6 function"], float]:
    """So many pieces, and their largest error between the ends."""
    width = (span[1] - span[0]) / pieces
    ends = span[0] + width * torch.arange(pieces + 1, dtype=torch.float64)
    table = _pieces(*_derivatives(functions, ends), width)
    inner = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    found = (table[:, None] * (inner[:, None] ** torch.arange(6))[None, :, :, None]).sum(2)
    expected = functions((ends[:-1, None] + inner * width).flatten()).view_as(found)
    height = expected.abs().amax((0, 1))
    least = SMALL * height.amax() if height.any() else 1.0
    error = ((found - expected).abs().amax((0, 1)) / height.clamp_min(least)).amax()
    return table, float(error.nan_to_num(nan=torch.inf))


def _derivatives(functions: Functions, at: Float[Tensor, " end"]) -> tuple[Tensor, Tensor, Tensor]:
    """f, f′ and f″."""

    def first(distance: Tensor) -> tuple[Tensor, Tensor]:
        return forward_derivative(functions, distance, torch.ones_like(distance))

    (value, slope), (_, curvature) = forward_derivative(first, at, torch.ones_like(at))
    return value.detach(), slope.detach(), curvature.detach()


def _pieces(value: Tensor, slope: Tensor, curvature: Tensor, width: float) -> Float[Tensor, "piece 6 function"]:
    """Hermite's polynomials of fifth degree in t."""
    start, slope, bend = value[:-1], slope * width, curvature * width**2
    steps = value.diff(dim=0) - slope[:-1] - bend[:-1] / 2
    turns = slope.diff(dim=0) - bend[:-1]
    bends = bend.diff(dim=0)
    cubic = 10 * steps - 4 * turns + bends / 2
    quartic = -15 * steps + 7 * turns - bends
    quintic = 6 * steps - 3 * turns + bends / 2
    table = torch.stack([start, slope[:-1], bend[:-1] / 2, cubic, quartic, quintic], 1)
    return torch.where(table.abs() < NOTHING * value.abs().amax(0), 0.0, table)  # what is NaN stays so, and is found out
