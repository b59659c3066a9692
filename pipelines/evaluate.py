"""Measures the potential on structures that it never saw: errors by quantity, element and group, and whether its spread knows them."""

import time
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from nnpx import artifact, files, results
from nnpx.config import instantiate
from nnpx.curves import write_tables
from nnpx.data.reader import read
from nnpx.ensemble import Ensemble
from nnpx.evaluation import Comparison, batches, check_same_data, compare, partition, predict, save_arrays
from nnpx.extrapolation import novelty, worst_extrapolations
from nnpx.metrics import UNITS, measured
from nnpx.neighbors import graph_from_list
from nnpx.report import POTENTIAL, as_rich, write_page


def main(config: DictConfig, workspace: Path) -> None:
    """Reads models/ and data/prepared/; writes reports/evaluation/ and adds it to the run that trained."""
    started, out = time.perf_counter(), workspace / "reports" / "evaluation"
    potential, prepared, console = workspace / "models" / "potential.nnpx", workspace / "data" / "prepared", Console()
    ensemble = artifact.load(potential, device=instantiate(config.trainer).device())
    header = {**artifact.read_header(potential), "n_features": ensemble.members[0].descriptor.n_features}
    training = files.read_json(workspace / "models" / "training.json")
    check_same_data(header["card"].get("md5", {}), prepared, made_by="nnpx learn" if "learned" in training else "nnpx train")
    parts = [part for part in ("test", "valid") if (prepared / f"{part}.extxyz").stat().st_size]
    if "test" not in parts:
        console.print(f"evaluate: {results.NO_TEST_SET}", soft_wrap=True)
    compared = {part: _compare(ensemble, prepared / f"{part}.extxyz") for part in parts}
    errors = measured(compared)
    curves = [member["curve"] for member in training.get("members", [])]
    write_tables(out / "curves", compared[parts[0]], curves)
    save_arrays(out / "predictions.npz", compared)
    drawn = results.save_pictures(out / "figures", results.pictures(compared[parts[0]], curves))
    found = {**errors, "units": UNITS, "wall_s": round(time.perf_counter() - started, 2), POTENTIAL: files.md5(potential)}
    files.write_json(out / "metrics.json", found)
    foreign = worst_extrapolations(ensemble, read(prepared / f"{parts[0]}.extxyz"), compared[parts[0]].novelty)
    sections = results.evaluation_sections(header, errors, drawn, foreign)
    write_page(out / "report.html", f"Evaluation of {config.name}", [*sections, results.background(header)])
    tracker = instantiate(config.tracking, workspace=workspace)
    tracker.prepare()
    with tracker.resume(training["run_id"]) if training.get("run_id") else tracker.start(config.name, parent=None, tags={}) as run:
        run.log_metrics(results.metric_names(errors), step=0)
        for path in [path for path in sorted(out.rglob("*")) if path.is_file()]:
            run.log_file(path, path.parent.relative_to(out.parent).as_posix())
    console.print(as_rich(results.error_table(errors)))
    console.print(results.conclusion(errors, (out / "report.html").relative_to(workspace), found["wall_s"]), soft_wrap=True)


def _compare(ensemble: Ensemble, path: Path) -> Comparison:
    structures = read(path)
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where=path.name)
    pieces, is_hidden = batches(graph, ensemble), not Console().is_terminal
    shown = track(pieces, total=len(partition(graph)), description=f"predicting {path.stem}", transient=True, disable=is_hidden)
    groups = [str(atoms.info.get("group", atoms.info.get("config_type", ""))) for atoms in structures]
    return compare(graph, predict(ensemble, shown), ensemble.numbers, groups, novelty(ensemble, batches(graph, ensemble)))
