"""Moves the start structure with the potential: does it conserve energy, and does it move as the engine that labelled its data?"""

import json
import shutil
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from nnpx.artifact import read_header
from nnpx.calculator import Calculator
from nnpx.config import instantiate
from nnpx.figures import svg
from nnpx.md.progress import progress_bars, watcher
from nnpx.md.study import run_all
from nnpx.report import Section, as_rich, picture, write_page
from nnpx.results import read_json, simulation_tables


def main(config: DictConfig, workspace: Path) -> None:
    """Reads models/ and data/prepared/test.extxyz; writes reports/simulation/ and adds it to the run that trained."""
    out, console = workspace / "reports" / "simulation", Console()
    shutil.rmtree(out, ignore_errors=True)
    potential = workspace / "models" / "potential.nnpx"
    calculator = Calculator(potential)
    tracker = instantiate(config.tracking, workspace=workspace)
    tracker.prepare()
    training = read_json(workspace / "models" / "training.json")
    with tracker.resume(training["run_id"]) if training.get("run_id") else tracker.start(config.name, parent=None, tags={}) as run:
        with progress_bars(console) as bars:
            studies = run_all(
                instantiate(config.md),
                calculator,
                instantiate(config.reference),
                labelled_by=read_header(potential)["card"].get("level_of_theory", "an unknown method"),
                seed=config.seed,
                start=workspace / "data" / "prepared" / "test.extxyz",
                workspace=workspace,
                file=out / "trajectory.extxyz",
                watch=watcher(bars),
            )
        found = {study.name: study.metrics() for study in studies}
        (out / "metrics.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        drawn = {name: one for study in studies for name, one in study.pictures().items()}
        for name, (figure, caption) in drawn.items():
            (out / f"{name}.svg").write_text(svg(figure, caption=caption), encoding="utf-8")
        notes = [f"{study.name} was not compared with the reference engine: {study.note}" for study in studies if study.note]
        pictures = [picture(out / f"{name}.svg") for name in drawn]
        write_page(
            out / "report.html",
            f"Simulation with {config.name}",
            [Section("Simulation", simulation_tables(found), pictures, " ".join(notes))],
        )
        for study in studies:
            study.log(run)
        for path in sorted(out.iterdir()):
            run.log_file(path, "simulation")
    for table in simulation_tables(found):
        console.print(as_rich(table))
    for note in notes:
        console.print(note)
