"""Radial functions at values worked out by hand."""

import math

import pytest
import torch

from nnpx.cutoff.polynomial import Polynomial
from nnpx.descriptor.tabulated import tabulate, within
from nnpx.errors import ConfigError
from nnpx.radial.bells import bells
from nnpx.radial.bessel import Bessel
from nnpx.radial.chebyshev import Chebyshev
from nnpx.radial.gaussian import Gaussian
from nnpx.radial.gaussian_list import GaussianList
from nnpx.radial.gaussian_row import GaussianRow


def gaussian(recipe: str, n_functions: int) -> Gaussian:
    return Gaussian(recipe=recipe, n_functions=n_functions, r_min=1.0, cutoff_radius=4.0)


def test_gastegger_centred_widths_reach_the_grid_points():
    """r_m = 1, 2, 3, 4: η = 1/(2 r_m²)."""
    radial = gaussian("gastegger_centred", 4)
    assert radial.eta.tolist() == pytest.approx([1 / 2, 1 / 8, 1 / 18, 1 / 32])
    assert radial.shift.tolist() == [0.0] * 4


def test_gastegger_shifted_gaussians_are_as_wide_as_their_spacing():
    """Spacing 1: η = ½ at 1, 2, 3 and 4 Å."""
    radial = gaussian("gastegger_shifted", 4)
    assert radial.eta.tolist() == pytest.approx([0.5] * 4)
    assert radial.shift.tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_imbalzano_centred_widths_form_a_geometric_series():
    """N = 5, n = 4, r_c = 4: η_m = (4^{m/4}/4)² = 1/16, 1/8, 1/4, 1/2, 1."""
    radial = gaussian("imbalzano_centred", 5)
    assert radial.eta.tolist() == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0])
    assert radial.shift.tolist() == [0.0] * 5


def test_imbalzano_shifted_gaussians_are_as_wide_as_the_gap_outwards():
    """N = 4, r_c = 4: places 4/√2, 2, √2, 1; η = 1/gap², the gap to the next place further out, 4 Å being the outermost."""
    radial = gaussian("imbalzano_shifted", 4)
    root = math.sqrt(2.0)
    assert radial.shift.tolist() == pytest.approx([2 * root, 2.0, root, 1.0])
    assert radial.eta.tolist() == pytest.approx(
        [1 / (4 - 2 * root) ** 2, 1 / (2 * root - 2) ** 2, 1 / (2 - root) ** 2, 1 / (root - 1) ** 2]
    )


def test_gaussian_falls_by_e_where_eta_times_distance_squared_is_one():
    values = gaussian("gastegger_shifted", 4)(torch.tensor([2.0 + math.sqrt(2.0)], dtype=torch.float64))
    assert float(values[0, 1]) == pytest.approx(math.exp(-1.0), rel=1e-14)


def test_names_say_width_and_place_in_angstrom():
    assert gaussian("gastegger_shifted", 4).names()[1] == "gaussian eta=0.5000 shift=2.000"


def test_a_grid_that_starts_beyond_the_cutoff_is_refused():
    with pytest.raises(ConfigError, match=r"radial\.r_min: expected less than cutoff\.radius = 4\.0 Å, found 5\.0 Å"):
        Gaussian(recipe="gastegger_shifted", n_functions=4, r_min=5.0, cutoff_radius=4.0)


def test_lists_of_different_length_are_refused():
    with pytest.raises(ConfigError, match=r"radial\.shift_bohr: expected 2 values"):
        GaussianList(eta_per_bohr2=[0.1, 0.2], shift_bohr=[0.0])


def test_a_row_of_gaussians_stands_at_even_places():
    radial = GaussianRow(n_functions=3, eta=2.0, first=0.5, spacing=0.25)
    values = radial(torch.tensor([1.0], dtype=torch.float64))[0]
    assert values.tolist() == pytest.approx([math.exp(-0.5), math.exp(-0.125), 1.0], rel=1e-14)


def test_bessel_functions_are_orthonormal_on_the_ball():
    """∫₀^{r_c} φ_k φ_l r² dr = δ_kl."""
    r = torch.linspace(0.0, 5.0, 20_001, dtype=torch.float64)
    values = Bessel(n_functions=6, smoothness=0.0, cutoff_radius=5.0)(r)
    overlap = torch.trapezoid(values[:, :, None] * values[:, None, :] * r[:, None, None] ** 2, r, dim=0)
    torch.testing.assert_close(overlap, torch.eye(6, dtype=torch.float64), rtol=0.0, atol=1e-7)


def test_bessel_functions_have_their_limit_at_the_origin():
    """φ_k(0) = √(2/r_c) kπ/r_c."""
    values = Bessel(n_functions=3, smoothness=0.0, cutoff_radius=5.0)(torch.zeros(1, dtype=torch.float64))
    assert values[0].tolist() == pytest.approx([math.sqrt(0.4) * k * math.pi / 5.0 for k in (1, 2, 3)], rel=1e-14)


def test_smooth_bessel_functions_rise_alike():
    """p = 1: r φ_k(r) = √(2/r_c) sin(kπr/r_c)/k begins with the slope √(2/r_c) π/r_c for every k, and no slope is larger."""
    r = torch.linspace(0.0, 5.0, 20_001, dtype=torch.float64)
    values = Bessel(n_functions=6, smoothness=1.0, cutoff_radius=5.0)(r) * r[:, None]
    slopes = values.diff(dim=0) / r.diff()[:, None]
    limit = math.sqrt(0.4) * math.pi / 5.0
    torch.testing.assert_close(slopes[0], torch.full((6,), limit, dtype=torch.float64), rtol=1e-5, atol=0.0)
    assert float(slopes.abs().max()) <= limit


def test_chebyshev_functions_follow_the_cosine_definition():
    """T_k(y) = cos(k arccos y)."""
    r = torch.linspace(0.1, 4.9, 25, dtype=torch.float64)
    y = 2.0 * (r / 5.0 - 1.0) ** 2 - 1.0
    expected = 0.5 * (torch.cos(torch.arange(7) * torch.arccos(y)[:, None]) + 1.0)
    torch.testing.assert_close(Chebyshev(n_functions=7, cutoff_radius=5.0)(r), expected, rtol=0.0, atol=1e-13)


def test_one_chebyshev_function_is_the_constant():
    assert Chebyshev(n_functions=1, cutoff_radius=5.0)(torch.tensor([1.0, 2.0])).tolist() == [[1.0], [1.0]]


def test_bells_end_where_they_count_no_more():
    """exp(−46) = 1.05 · 10⁻²⁰ is kept, exp(−46.1) = 0.95 · 10⁻²⁰ is none; so are their derivatives."""
    exponent = torch.tensor([0.0, -1.0, -46.0, -46.1, -100.0], dtype=torch.float64, requires_grad=True)
    found = bells(exponent)
    (slope,) = torch.autograd.grad(found.sum(), exponent)
    assert found.tolist() == slope.tolist() == [1.0, math.exp(-1.0), math.exp(-46.0), 0.0, 0.0]


@pytest.mark.parametrize("recipe", ["gastegger_shifted", "imbalzano_centred", "imbalzano_shifted"])
def test_tails_are_never_subnormal(recipe: str):
    """Numbers below 1.2 · 10⁻³⁸ cost a processor a hundred times as much as others, in single precision: in values and in tables."""
    radial, cutoff = Gaussian(recipe=recipe, n_functions=16, r_min=0.8, cutoff_radius=6.0), Polynomial(radius=6.0, power=6)
    distance = torch.linspace(0.3, 6.0, 5000, dtype=torch.float64)
    of_bells, with_tails = (
        tabulate(functions, within(6.0), torch.float32)
        for functions in (
            lambda r: radial(r) * cutoff(r)[:, None],
            lambda r: torch.exp((r[:, None] - radial.shift).square() * -radial.eta) * cutoff(r)[:, None],
        )
    )
    for numbers in (radial.float()(distance.float()), of_bells, with_tails):
        assert not ((numbers != 0.0) & (numbers.abs() < torch.finfo(torch.float32).smallest_normal)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_nan_stays_so(dtype: torch.dtype):
    """|r − c|³ has a second derivative that autograd does not find at c, where a piece begins: there is no table."""
    begin, end = within(6.0)
    middle = begin + (end - begin) / 2
    assert tabulate(lambda r: ((r - middle).square() ** 1.5)[:, None], within(6.0), dtype) is None
    assert bells(torch.tensor([math.nan], dtype=dtype)).isnan().all()
