"""Somebody who opens the dashboard sees the ensemble and the sweep, what is nested below them, and the comparison of runs."""

import json
import urllib.parse
from pathlib import Path

from chromium import MARKS, Chromium
from dashboard_runs import JOBS, MEMBERS, SWEEP, Store

pytestmark = MARKS
#: the square that unfolds what is nested below a run
UNFOLD = ".ag-row button"


def experiment_page(store: Store, dashboard: str) -> str:
    """The address that `nnpx report` prints, on the port of this test."""
    return store.tracker.dashboard()[1].replace("http://127.0.0.1:5000", dashboard)


def comparison_page(dashboard: str, runs: list[str]) -> str:
    chosen = {"runs": json.dumps(runs), "experiments": json.dumps(["1"])}
    return f"{dashboard}/#/compare-runs?{urllib.parse.urlencode(chosen, quote_via=urllib.parse.quote)}"


def test_the_experiment_page_lists_the_sweep_and_unfolds_its_jobs(store: Store, dashboard: str, browser: Chromium, tmp_path: Path) -> None:
    browser.open(experiment_page(store, dashboard))
    browser.until_text(SWEEP[:12], "ethanol")
    assert JOBS[-1] not in browser.text()
    browser.click(UNFOLD)  # the newest run comes first
    browser.until_text(*JOBS)
    assert browser.picture(tmp_path / "experiment.png").stat().st_size > 20_000
    assert [address for address in browser.requests if not address.startswith((dashboard, "data:"))] == []


def test_the_page_of_the_sweep_names_its_jobs_and_leads_to_them(store: Store, dashboard: str, browser: Chromium) -> None:
    browser.open(f"{dashboard}/#/experiments/1/runs/{store.sweep}")
    browser.until_text("Child runs", *JOBS)
    browser.click(f'a[href$="/runs/{store.jobs[2]}"]')
    browser.until_text(JOBS[2], "valid/forces_mae", "1.2", "acsf_narrow")


def test_the_page_of_a_member_shows_its_parameters_and_metrics(store: Store, dashboard: str, browser: Chromium) -> None:
    browser.open(f"{dashboard}/#/experiments/1/runs/{store.members[1]}")
    browser.until_text(MEMBERS[1], "network.hidden", "valid_forces_mae")


def test_the_comparison_page_shows_what_varies_and_what_came_out(store: Store, dashboard: str, browser: Chromium, tmp_path: Path) -> None:
    browser.open(comparison_page(dashboard, store.jobs))
    browser.until_text(*JOBS, "valid/forces_mae", "us_per_atom", "train_wall_s", "acsf_narrow")
    browser.until("document.querySelectorAll('.js-plotly-plot .main-svg').length > 0")
    assert browser.picture(tmp_path / "comparison.png").stat().st_size > 20_000
