"""Moves the start structure with the potential: does it conserve energy, and does it move as the engine that labelled its data?"""

from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from nnpx.artifact import read_header
from nnpx.calculator import Calculator
from nnpx.config import instantiate
from nnpx.configuration.targets import trusted_code
from nnpx.files import md5, read_json, write_json
from nnpx.locks import alone
from nnpx.md.progress import watcher
from nnpx.md.study import FOLDER, run_all, start_file
from nnpx.progress import Bars
from nnpx.report import POTENTIAL, Section, as_rich, write_page
from nnpx.results import save_pictures, simulation_tables


def main(config: DictConfig, workspace: Path) -> None:
    """Reads models/ and data/prepared/; writes reports/simulation/ and adds it to the run that trained. Killed, it goes on."""
    out, potential, console = workspace / "reports" / "simulation", workspace / "models" / "potential.nnpx", Console()
    with ExitStack() as stack:
        stack.enter_context(alone(workspace / FOLDER, on="simulations of this folder", do="Wait for it, or end it first."))
        device, tracker = instantiate(config.trainer).device(), instantiate(config.tracking, workspace=workspace)
        calculator = Calculator(potential, record_after=0, device=device)
        for made in ("metrics.json", "report.html"):
            (out / made).unlink(missing_ok=True)
        tracker.prepare()
        trained = read_json(workspace / "models" / "training.json").get("run_id")
        run = stack.enter_context(tracker.resume(trained) if trained else tracker.start(config.name, parent=None, tags={}))
        with Bars(console, "simulate") as bars:
            studies = run_all(
                instantiate(config.md),
                calculator,
                calculator.ensemble,
                instantiate(config.reference),
                labelled_by=read_header(potential)["card"].get("level_of_theory", "an unknown method"),
                seed=config.seed,
                start=start_file(workspace / "data" / "prepared"),
                workspace=workspace,
                file=out / "trajectory.extxyz",
                potential=f"{md5(potential)} on {device}",
                trusted=trusted_code(),
                watch=watcher(bars),
            )
        found = {study.name: study.metrics() for study in studies}
        write_json(out / "metrics.json", {**found, POTENTIAL: md5(potential)})
        drawn = {name: one for study in studies for name, one in study.pictures().items()}
        notes = [f"{study.name} was not compared with the reference engine: {study.note}" for study in studies if study.note]
        page = [Section("Simulation", simulation_tables(found), save_pictures(out / "figures", drawn), " ".join(notes))]
        write_page(out / "report.html", f"Simulation with {config.name}", page)
        for study in studies:
            study.log(run)
        for path in filter(Path.is_file, sorted(out.rglob("*"))):
            run.log_file(path, path.parent.relative_to(out.parent).as_posix())
    for shown in [*map(as_rich, simulation_tables(found)), *notes, f"simulate: {', '.join(found)} → reports/simulation/report.html"]:
        console.print(shown)
