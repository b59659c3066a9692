"""A report is complete in itself, and its figures are the same for the same data."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from labelled import unlabelled
from rich.console import Console

from nnpx import figures
from nnpx.report import Picture, Section, Table, as_markdown, as_rich, page, picture, text, with_error, write_page
from nnpx.results import facts, final_table, metric_names, simulation_tables


class Nesting(HTMLParser):
    """Fails where a tag is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids.extend(value for name, value in attrs if name == "id" and value)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids.extend(value for name, value in attrs if name == "id" and value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=3000)


def every_figure(noise: np.ndarray) -> dict[str, figures.Figure]:
    epochs = [{"epoch": k, "train_loss": 1.0 / k, "valid_loss": 2.0 / k, "valid_forces_mae": 0.1 / k} for k in range(1, 20)]
    stopped = [{"epoch": 1, "train_loss": 0.0, "valid_loss": float("nan"), "valid_forces_mae": None}]
    return {
        "parity": figures.parity(noise, noise + 0.1, quantity="force", unit="eV/Å"),
        "parity of equal values": figures.parity(np.ones(3), np.ones(3), quantity="energy", unit="eV"),
        "errors": figures.error_histogram({"H": noise, "O": 2 * noise}, unit="eV/Å"),
        "no errors": figures.error_histogram({"H": np.zeros(4)}, unit="eV/Å"),
        "curves": figures.learning_curves([epochs, epochs[:5], stopped]),
        "spread": figures.spread_against_error(np.abs(noise), np.abs(noise[::-1]), unit="eV/Å"),
        "bars": figures.bars({"H": 1.0, "O": 2345.0}, xlabel="element", ylabel="MAE"),
        "lines": figures.lines({"": (np.arange(5), noise[:5])}, xlabel="t", ylabel="T", xlog=False, ylog=False),
        "points": figures.points({"A": (noise[:50], noise[:50]), "B": (noise[:9], noise[1:10])}, xlabel="reference", ylabel="prediction"),
        "logarithmic": figures.lines({"": (np.arange(1, 6), np.abs(noise[:5]))}, xlabel="t", ylabel="T", xlog=True, ylog=True),
        "histogram": figures.histogram({"reference": noise, "potential": noise[:50]}, quantity="r", unit="Å", bins=20),
    }


def test_every_figure_is_small_and_the_same_for_the_same_data(noise: np.ndarray) -> None:
    first = {name: figures.svg(figure, caption=name) for name, figure in every_figure(noise).items()}
    again = {name: figures.svg(figure, caption=name) for name, figure in every_figure(noise).items()}
    assert first == again
    assert max(map(len, first.values())) < 150_000
    assert not any("<dc:date>" in drawing for drawing in first.values())


def test_many_points_are_pixels_and_few_are_shapes(noise: np.ndarray) -> None:
    assert "data:image/png" in figures.svg(figures.parity(noise, noise, quantity="force", unit="eV/Å"))
    assert "data:image/png" not in figures.svg(figures.parity(noise[:50], noise[:50], quantity="force", unit="eV/Å"))


def test_an_axis_that_does_not_say_what_it_shows_fails_every_test_that_draws_it() -> None:
    figure = figures.lines({"": ([0.0], [0.0])}, xlabel="t (ps)", ylabel="T (K)", xlog=False, ylog=False)
    assert unlabelled(figure) == []
    (axes,) = figure.axes
    axes.secondary_xaxis("top")
    axes.set_ylabel("")
    assert unlabelled(figure) == ["ordinate of panel 0", "second axis of panel 0"]
    with pytest.raises(AssertionError):
        figures.svg(figure)
    axes.tick_params(labelleft=False)
    assert unlabelled(figure) == ["second axis of panel 0"]


def test_labels_that_are_missing_are_not_drawn(noise: np.ndarray) -> None:
    label = np.where(np.arange(3000) < 100, noise, np.nan)
    assert "100 values" in figures.svg(figures.parity(label, noise, quantity="force", unit="eV/Å"))


def test_a_page_is_well_formed_with_unique_names_and_asks_the_network_for_nothing(noise: np.ndarray) -> None:
    drawn = [Picture(figures.svg(figure), f"<{name}> & more") for name, figure in every_figure(noise).items()]
    table = Table("Errors", ("quantity", "MAE"), [("force <x>", 1.23456), ("energy", None)])
    written = page("A & B", [Section("One", [table], drawn, "Text.", [("Configuration", "a: <b>")]), Section("Two", figures=drawn)])
    parser = Nesting()
    parser.feed(written)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert not re.search(r'(src|href)="(?!#|data:)', written)
    assert not re.search(r"@import|url\((?!#)", written)
    assert "<script" not in written
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', written))
    assert referred <= set(parser.ids)
    assert "force &lt;x&gt;" in written
    assert "prefers-color-scheme: dark" in written


def test_a_figure_keeps_its_caption_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(figures.svg(figures.bars({"H": 1.0}, xlabel="element", ylabel="MAE"), caption="Errors of H & O"))
    (tmp_path / "bond_lengths.svg").write_text(figures.svg(figures.bars({"H": 1.0}, xlabel="element", ylabel="MAE")))
    assert picture(tmp_path / "a.svg").caption == "Errors of H & O"
    assert picture(tmp_path / "bond_lengths.svg").caption == "bond lengths"


def test_numbers_are_written_with_three_digits() -> None:
    assert [text(value) for value in (0.0123456, 12.3456, 1234.56, 8100, None, "x", float("nan"))] == [
        "0.0123",
        "12.3",
        "1,235",
        "8,100",
        "",
        "x",
        "–",
    ]


def test_a_page_is_written_with_its_folder(tmp_path: Path) -> None:
    write_page(tmp_path / "reports" / "report.html", "title", [Section("empty")])
    assert "<title>title</title>" in (tmp_path / "reports" / "report.html").read_text()


def test_key_facts_survive_what_a_header_lacks() -> None:
    assert facts({}).rows[0][0] == "parameters"
    full = {"config": {"descriptor": {"_target_": "nnpx.descriptor.acsf.ACSF"}}, "numbers": [1, 6], "n_members": 4, "n_parameters": 5000}
    rows = dict(facts({**full, "n_features": 48}).rows)
    assert rows["descriptor"] == "ACSF, 48 features per atom"
    assert rows["elements"] == "H, C"
    assert rows["parameters"] == "5,000 in each of 4 members"


def test_the_outcome_names_errors_drift_and_times_that_exist() -> None:
    evaluation = {"test": {"forces": {"mae": 0.025, "rmse": 0.03, "max": 0.2, "count": 9}}, "wall_s": 2.0}
    simulation = {"nve": {"drift_meV_per_atom_per_ps": 5e-4, "drift_error_meV_per_atom_per_ps": 1e-4, "wall_s": 30.0}}
    rows = final_table(evaluation, simulation, {}).rows
    assert [tuple(row) for row in rows] == [
        ("forces, MAE", "25.0", "meV/Å"),
        ("drift of the total energy, nve", "0.00050 ± 0.00010", "meV/atom/ps"),
        ("time, evaluation", "2.00", "s"),
        ("time, simulation", "30.0", "s"),
    ]


def test_metrics_have_one_flat_name_each() -> None:
    found = {"test": {"structures": 3, "forces": {"mae": 1.0, "count": 9}, "forces_by_element": {"H": {"rmse": 2.0}}}}
    assert metric_names(found) == {"test/forces_mae": 1.0, "test/forces_by_element_H_rmse": 2.0}


def test_the_tables_of_a_simulation_fit_a_terminal_of_80_columns() -> None:
    run = {"temperature_K": 300.123, "drift_meV_per_atom_per_ps": -0.0086, "drift_error_meV_per_atom_per_ps": 0.007, "wall_s": 12345.6}
    run |= {"sigma_total_meV_per_atom": 0.0773, "spread_meV_per_atom": 0.157, "ns_per_day": 16.3}
    console = Console(width=80, file=io.StringIO())
    for table in simulation_tables({"nose_hoover": run}):
        console.print(as_rich(table))
    told = console.file.getvalue()
    assert "-0.0086 ± 0.007" in told
    assert "12,346" in told
    assert "…" not in told
    assert len([line for line in told.splitlines() if line.startswith("│") and "nose_hoover" in line]) == 1


def test_a_mean_has_its_standard_error_and_the_width_stands_apart() -> None:
    one = {"unit": "°", "mean": 109.5267, "mean_error": 0.1234, "spread": 3.41, "overlap": 0.97}
    one |= {"reference_mean": 109.4, "reference_mean_error": 0.0061, "reference_spread": 3.52}
    (_, table) = simulation_tables({"langevin": {"distributions": {"C-C-H": one}}})
    assert "mean ± standard error" in table.caption
    assert [tuple(row) for row in table.rows] == [("C-C-H (°)", "109.53 ± 0.12", "3.4", "109.4000 ± 0.0061", "3.5", 0.97)]
    console = Console(width=80, file=io.StringIO())
    console.print(as_rich(table))
    assert "109.4000 ± 0.0061" in console.file.getvalue()


def test_observables_stand_beside_those_of_the_reference_where_there_are() -> None:
    run = {"temperature_K": 301.21, "temperature_error_K": 2.13, "canonical_p_value": 0.4321, "canonical_samples": 1234}
    run |= {"volume_A3": 1000.0, "volume_error_A3": 10.0, "reference_volume_A3": 990.0, "reference_volume_error_A3": 20.0}
    run |= {"vibration_peak_per_cm": None, "diffusion": {"O": {"unit": "Å²/ps", "value": 0.231, "error": 0.012}}}
    run |= {"reference_diffusion": {"O": {"unit": "Å²/ps", "value": 0.25, "error": None}}, "distance_distribution_mae": 0.0512}
    (_, table) = simulation_tables({"npt": run})
    assert [tuple(row) for row in table.rows] == [
        ("temperature", "301.2 ± 2.1", None, "K"),
        ("volume", "1,000 ± 10", "990 ± 20", "Å³"),
        ("p of canonical kinetic energies", "0.4321", None, ""),
        ("decorrelated samples for p", "1,234", None, ""),
        ("∫ |h(r) − h_ref(r)| dr, 0 … 2", "0.0512", None, ""),
        ("diffusion of O", "0.231 ± 0.012", "0.25", "Å²/ps"),
    ]


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [(1234.5, 12.3, "1,234 ± 12"), (0.0, 2.5e-9, "0 ± 2.5e-09"), (1.5, 0.0, "1.5 ± 0"), (1.5, None, "1.5"), (None, None, None)],
)
def test_a_number_is_written_to_the_second_digit_of_its_error(value: float | None, error: float | None, told: str | None) -> None:
    assert with_error(value, error) == told


def test_no_column_of_a_terminal_table_is_cut() -> None:
    console = Console(width=40, file=io.StringIO())
    console.print(as_rich(Table("", ("name", "value"), [("a_name_without_any_space_that_is_longer_than_the_terminal", 1.0)])))
    assert "…" not in console.file.getvalue()


def test_a_table_in_markdown_has_its_numbers_on_the_right() -> None:
    written = as_markdown(Table("Errors", ("quantity", "MAE"), [("a | b", 1.23456)]))
    assert written == "**Errors**\n\n| quantity | MAE |\n| --- | ---: |\n| a \\| b | 1.23 |\n"
