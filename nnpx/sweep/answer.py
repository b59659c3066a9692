"""The end of a sweep: one table and one figure, on the terminal, in its folder and in its run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from nnpx.config import instantiate
from nnpx.configuration.schema import plain
from nnpx.files import read_json, write_json, write_text
from nnpx.sweep.files import RESULT, writable
from nnpx.sweep.grid import Grid, Job
from nnpx.tracking import Run, Silent, Tracker

#: in the folder of a sweep: its run, and how it was called
_SWEEP: Final = "sweep.json"


@contextmanager
def opened_run(grid: Grid) -> Iterator[Run]:
    """The run that the runs of the jobs are nested below; the same one when the sweep is started again."""
    config, path = grid.jobs[0].config, grid.folder / _SWEEP
    tracker: Tracker = instantiate(config.tracking, workspace=grid.project) if "tracking" in config else Silent(workspace=grid.project)
    tracker.prepare()
    known = read_json(path).get("run_id")
    name = f"{config.name}: {' × '.join(grid.jobs[0].choices) or 'one job'}"
    tags = {"sweep": grid.shown(grid.folder), "verb": grid.verb}
    with tracker.resume(known) if known else tracker.start(name, parent=None, tags=tags) as run:
        with writable(grid.shown(grid.folder)):
            write_json(path, {"run_id": run.id, "verb": grid.verb, "n_jobs": len(grid.jobs)})
        if not known:
            run.log_params(_common(grid.jobs))
        yield run


def answer(grid: Grid, run: Run) -> int:
    """Compares the jobs; returns how many failed."""
    from nnpx.comparison import page
    from nnpx.comparison.figure import drawing
    from nnpx.comparison.rows import row_of_folder

    rows = [row_of_folder(job.folder, job.choices, job.name, _failure(job)) for job in grid.jobs]
    page.show(rows)
    picture = drawing(rows)
    written = {"table.md": page.markdown(rows), "table.csv": page.spreadsheet(rows)}
    if picture is not None:
        written["figure.svg"] = picture
    with writable(grid.shown(grid.folder)):
        for name, content in written.items():
            write_text(grid.folder / name, content)
        page.write_report(grid.folder / "report.html", f"Sweep of {grid.jobs[0].config.name}", rows, picture)
    for name in (*written, "report.html"):
        run.log_file(grid.folder / name)
    failed = sum(1 for row in rows if row.failure)
    run.log_metrics({"jobs": len(rows), "failed_jobs": failed}, step=0)
    sys.stdout.write(f"report     {grid.shown(grid.folder / 'report.html')}\n")
    return failed


def _failure(job: Job) -> str:
    result = read_json(job.folder / RESULT)
    if result.get("status") == "finished":
        return ""
    return str(job.failure or result.get("error") or "it has not run")


def _common(jobs: list[Job]) -> dict[str, Any]:
    """The settings that all jobs share."""
    return _same([plain(job.config) for job in jobs])


def _same(settings: list[Any]) -> dict[str, Any]:
    first, rest = settings[0], settings[1:]
    common = {}
    for key, value in first.items():
        others = [other.get(key) for other in rest]
        if all(other == value for other in others):
            common[key] = value
        elif isinstance(value, dict) and all(isinstance(other, dict) for other in others):
            common[key] = _same([value, *others])
    return common
