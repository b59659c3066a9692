"""Labels structures: makes or reads geometries, lets the reference engine compute what is missing, writes data/labelled.extxyz."""

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import nnpx
from nnpx.config import fingerprint, instantiate
from nnpx.data.card import summary
from nnpx.data.frames import md5, write, write_json
from nnpx.data.labelling import Journal, Labelling
from nnpx.data.source import as_structures


def main(config: DictConfig, workspace: Path) -> None:
    """Reads the user's files if there are any; writes data/labelled.extxyz and data/labels.json."""
    source, reference = instantiate(config.data), instantiate(config.reference)
    data, labels = workspace / "data" / "labelled.extxyz", workspace / "data" / "labels.json"
    # what decides the labels: neither the split nor the number of processes does
    made_of = OmegaConf.to_container(OmegaConf.create({"data": config.data, "reference": config.reference, "seed": config.seed}))
    made_of["data"].pop("split"), made_of["reference"].pop("n_processes")
    inputs = {str(path.relative_to(workspace)) if path.is_relative_to(workspace) else path.name: path for path in source.inputs(workspace)}
    checksums = {name: md5(path) if path.is_file() else "" for name, path in inputs.items()}
    stamp = fingerprint(made_of, checksums, nnpx.__version__, reference.level_of_theory)
    config_stamp = fingerprint(config.data, config.reference, config.seed)
    console = Console()
    known = json.loads(labels.read_text(encoding="utf-8")) if labels.is_file() and data.is_file() else {}
    if known.get("made_of") == stamp and known.get("md5") == md5(data):
        write_json(labels, {**known, "config": config_stamp})
        console.print(f"label: data/labelled.extxyz is up to date ({known['n_structures']} structures)")
        return
    journal = Journal(path=workspace / ".nnpx" / "label" / stamp / "journal.jsonl")
    columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("labelling", total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        labelling = Labelling(engine=reference, n_processes=reference.n_processes, journal=journal, report=report)
        gathered = source.gather(labelling.run, workspace, config.seed)
    write(data, [*as_structures(gathered.isolated), *gathered.structures])
    content = {
        "config": config_stamp,
        "made_of": stamp,
        "md5": md5(data),
        "inputs": checksums,
        **summary(gathered, reference.level_of_theory),
    }
    write_json(labels, content)
    journal.remove()
    for line in [*gathered.found, *(f"not labelled: {failure.name}: {failure.reason}" for failure in gathered.failures)]:
        console.print(f"label: {line}", markup=False)
    console.print(f"label: {len(gathered.structures)} structures, {content['level_of_theory']}", markup=False)
