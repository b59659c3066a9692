"""Joins evaluation and simulation in one page, and says in a few lines what came out."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from nnpx import artifact, results
from nnpx.config import instantiate
from nnpx.report import Section, as_rich, picture, write_page


def main(config: DictConfig, workspace: Path) -> None:
    """Reads models/ and reports/{evaluation,simulation}/; writes reports/report.html."""
    reports = workspace / "reports"
    header = artifact.read_header(workspace / "models" / "potential.nnpx")
    training = results.read_json(workspace / "models" / "training.json")
    evaluation = results.read_json(reports / "evaluation" / "metrics.json")
    simulation = results.read_json(reports / "simulation" / "metrics.json")
    outcome = results.final_table(evaluation, simulation, training)
    drawn = {part: [picture(path) for path in sorted((reports / part).glob("*.svg"))] for part in ("evaluation", "simulation")}
    errors = {part: evaluation[part] for part in ("test", "valid") if part in evaluation}
    potential, wrong = results.evaluation_sections(header, errors, drawn["evaluation"])
    sections = [Section("Outcome", tables=[outcome]), potential, wrong]
    if simulation:
        sections.append(Section("Simulation", tables=[results.plain_table(simulation)], figures=drawn["simulation"]))
    labels = results.read_json(workspace / "data" / "labels.json")
    if labels:
        sections.append(Section("Labels", tables=[results.plain_table(labels)]))
    page = reports / "report.html"
    write_page(page, config.name, [*sections, results.background(header)])
    tracker = instantiate(config.tracking, workspace=workspace)
    if run_id := training.get("run_id"):
        with tracker.resume(run_id) as run:
            run.log_file(page)
    console = Console()
    console.print(as_rich(outcome))
    console.print(f"report     {page.relative_to(workspace)}", highlight=False, soft_wrap=True)
    if command := tracker.dashboard():
        console.print(f"dashboard  {command}", highlight=False, soft_wrap=True)
