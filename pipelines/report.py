"""Joins evaluation and simulation in one page, and says in a few lines what came out."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from nnpx import artifact, results
from nnpx.config import instantiate
from nnpx.files import read_json
from nnpx.report import Section, as_rich, of_potential, picture, write_page


def main(config: DictConfig, workspace: Path) -> None:
    """Reads models/ and reports/{evaluation,simulation}/; writes reports/report.html."""
    reports = workspace / "reports"
    potential = workspace / "models" / "potential.nnpx"
    header = {**artifact.read_header(potential), "n_features": artifact.load(potential).members[0].descriptor.n_features}
    training = read_json(workspace / "models" / "training.json")
    files = {verb: reports / name / "metrics.json" for verb, name in (("evaluate", "evaluation"), ("simulate", "simulation"))}
    found = {verb: of_potential(file, potential) for verb, file in files.items()}
    evaluation, simulation = found["evaluate"], found["simulate"]
    of_another = [verb for verb, file in files.items() if file.is_file() and not found[verb]]
    outcome = results.final_table(evaluation, simulation, training)
    drawn = [reports / "evaluation/figures" / f"{name}.svg" for name in results.ORDER if evaluation]
    errors_drawn = [picture(path) for path in drawn if path.is_file()]
    errors = {part: evaluation[part] for part in ("test", "valid") if part in evaluation}
    sections = [Section("Outcome", tables=[outcome]), *results.evaluation_sections(header, errors, errors_drawn)]
    if simulation:
        moved = [picture(path) for path in sorted((reports / "simulation/figures").glob("*.svg"))]
        sections.append(Section("Simulation", tables=results.simulation_tables(simulation), figures=moved))
    if labels := read_json(workspace / "data" / "labels.json"):
        sections.append(Section("Labels", tables=[results.label_table(labels)]))
    page = reports / "report.html"
    write_page(page, config.name, [*sections, results.background(header)])
    console = Console()
    console.print(as_rich(outcome))
    for verb in of_another:
        console.print(f"report: left out what `nnpx {verb}` found of another potential; run it again", highlight=False, soft_wrap=True)
    console.print(f"report     {page.relative_to(workspace)}", highlight=False, soft_wrap=True)
    if run_id := training.get("run_id"):  # of a training that was remembered
        tracker = instantiate(config.tracking, workspace=workspace)
        with tracker.resume(run_id) as run:
            run.log_file(page)
        for line in tracker.dashboard():
            console.print(f"dashboard  {line}", highlight=False, soft_wrap=True, markup=False)
