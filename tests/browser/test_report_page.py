"""A report opens without a network, and a person sees its tables and figures, by day and by night."""

from pathlib import Path

import numpy as np
import pytest
from chromium import MARKS, Chromium

from nnpx import figures
from nnpx.report import Picture, Section, Table, write_page

pytestmark = MARKS
#: width and height of every figure as it is seen
SIZES = "[...document.querySelectorAll('figure svg')].map(one => [one.getBoundingClientRect().width, one.getBoundingClientRect().height])"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of content, and more of it than fits."""
    noise = np.random.default_rng(0).normal(size=3000)
    drawn = {
        "vectors": figures.bars({"H": 1.0, "O": 2.0}, xlabel="element", ylabel="MAE"),
        "pixels": figures.parity(noise, noise + 0.1, quantity="force", unit="eV/Å"),
        "lines": figures.lines({"A": (np.arange(5), noise[:5])}, xlabel="t", ylabel="T", xlog=False, ylog=False),
    }
    pictures = [Picture(figures.svg(figure), caption) for caption, figure in drawn.items()]
    wide = Table("A wide table", [f"column {k} (meV/atom)" for k in range(20)], [[1.0 * k for k in range(20)]])
    write_page(
        path := tmp_path_factory.mktemp("report") / "report.html", "A report", [Section("Results", [wide], pictures), Section("More")]
    )
    return path


def test_it_asks_for_nothing_but_itself(report: Path, browser: Chromium) -> None:
    browser.open(report.as_uri())
    assert [address for address in browser.requests if not address.startswith("data:")] == [report.as_uri()]
    assert browser.errors == []


@pytest.mark.parametrize("dark", [False, True])
def test_its_figures_are_seen_on_white_whatever_the_colour_of_the_page(report: Path, browser: Chromium, tmp_path: Path, dark: bool) -> None:
    browser.open(report.as_uri(), dark=dark)
    sizes = browser.run(SIZES)
    assert len(sizes) == 3
    assert min(min(size) for size in sizes) > 150
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    assert browser.run("getComputedStyle(document.querySelector('figure')).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("[...document.images, ...document.querySelectorAll('image')].length") >= 1
    assert browser.picture(tmp_path / "report.png", whole=True).stat().st_size > 10_000


@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_sticks_out_of_the_page(report: Path, tmp_path: Path, width: int) -> None:
    with Chromium(tmp_path, width=width) as browser:
        browser.open(report.as_uri())
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.run("[...document.querySelectorAll('figure svg')].every(one => one.getBoundingClientRect().right <= innerWidth)")
