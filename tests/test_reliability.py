"""What a report says of the spread: of errors that are as large as it says, too small, or not spread at all."""

import numpy as np
import pytest

from nnpx import reliability
from nnpx.evaluation import Comparison
from nnpx.metrics import metrics

N = 2000


def comparison(scale):
    """Force errors drawn from Gaussians of known width, reported as `scale` times that width."""
    random = np.random.default_rng(0)
    width = random.uniform(0.02, 0.2, (N, 3))
    nothing = np.full((1, 3, 3), np.nan)
    return Comparison(
        numbers=np.full(N, 6),
        owner=np.zeros(N, dtype=int),
        groups=[""],
        energy_label=np.zeros(1),
        energy=np.zeros(1),
        energy_std=np.full(1, np.nan),
        forces_label=np.zeros((N, 3)),
        forces=random.normal(scale=width),
        forces_std=scale * width,
        stress_label=nothing,
        stress=nothing,
        energy_noise=np.full(1, np.nan),
        forces_noise=np.full((N, 3), np.nan),
        novelty={},
    )


def curve(figure, name):
    (axes,) = figure.axes
    (line,) = [line for line in axes.lines if line.get_label() == name]
    return line.get_xydata()


@pytest.mark.parametrize(("scale", "off"), [(1.0, 0.0), (0.5, -0.3)])
def test_the_reliability_curve_is_the_diagonal_where_the_spread_is_right_and_below_where_it_is_too_small(scale, off):
    """Half of a Gaussian's width holds 38 % where one width holds 68 %."""
    drawn = reliability.pictures(comparison(scale))
    expected, observed = curve(drawn["reliability"][0], "force components").T
    one_width = np.argmin(np.abs(expected - 0.683))
    assert observed[one_width] - expected[one_width] == pytest.approx(off, abs=0.02)


def test_what_is_left_when_the_uncertain_is_removed_has_smaller_errors_but_the_oracle_knows_better():
    drawn = reliability.pictures(comparison(1.0))
    by_spread, by_error = (curve(drawn["sparsification"][0], name)[:, 1] for name in ("by spread", "by the error itself"))
    assert by_spread[0] == by_error[0] == 1.0
    middle = len(by_spread) // 2
    assert by_error[middle] < by_spread[middle] < 0.8


def test_the_table_says_what_the_numbers_are():
    found = metrics(comparison(1.0))
    rows = dict(row for table in reliability.tables(found) for row in table.rows)
    ((name, judged),) = found["uncertainty"].items()
    assert name == "forces"
    assert rows["negative log likelihood (nats, of errors in eV/atom and eV/Å; smaller is better)"] == judged["nll"]
    assert rows["continuous ranked probability score (meV/atom, meV/Å; smaller is better)"] == 1e3 * judged["crps"]
    assert rows["RMS calibration error (0 if calibrated)"] < 0.02
    assert rows["epistemic: spread of the members (meV/atom, meV/Å)"] == pytest.approx(rows["both together (meV/atom, meV/Å)"])


def test_a_sentence_says_it_of_the_forces():
    judged = (found := metrics(comparison(0.5)))["uncertainty"]["forces"]
    found["uncertainty"] = {"energy_per_atom": {"rmsce": 0.9, "nll": 9.0}, "forces": judged}
    said = reliability.sentence(found)
    assert said.startswith("uncertainty of force components: RMS calibration error 0.2")
    assert f"errors {judged['spearman']:.2f}, NLL {judged['nll']:.2f} nats" in said


def test_without_a_spread_nothing_is_said_of_it():
    one = comparison(np.nan)
    assert reliability.sentence(metrics(one)) == ""
    assert reliability.pictures(one) == {}
    assert reliability.tables(metrics(one)) == []
