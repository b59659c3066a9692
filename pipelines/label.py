"""Labels structures: makes or reads geometries, lets the reference engine compute what is missing, writes data/labelled.extxyz."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import TaskID

import nnpx
from nnpx.config import fingerprint, instantiate
from nnpx.data.card import summary
from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import write
from nnpx.data.source import as_structures
from nnpx.executor.labelling import Labelling
from nnpx.files import md5, read_json, write_json
from nnpx.progress import Bars
from nnpx.upstream import inputs_of, of_labels, stamp


def main(config: DictConfig, workspace: Path) -> None:
    """Reads the user's files if there are any; writes data/labelled.extxyz and data/labels.json."""
    source, reference, console = instantiate(config.data), instantiate(config.reference), Console()
    data, labels = workspace / "data" / "labelled.extxyz", workspace / "data" / "labels.json"
    checksums, known = inputs_of(config, workspace), read_json(labels) if data.is_file() else {}
    stamps = {
        "config": stamp("label", config),
        "made_of": fingerprint(*_decisive(config), checksums, nnpx.__version__, reference.identity),
    }
    if known.get("made_of") == stamps["made_of"] and known.get("md5") == md5(data) and not known["failures"]:
        write_json(labels, {**known, **stamps})
        console.print(f"label: data/labelled.extxyz is up to date ({known['n_structures']} structures)")
        return
    journal = FinishedJobs(path=workspace / ".nnpx" / "label" / stamps["made_of"] / "journal.jsonl")
    with Bars(console, "label") as bar:
        task = bar.add_task("labelling", total=None, said="")
        labelling = Labelling(engine=reference, executor=instantiate(config.executor), journal=journal, report=partial(_report, bar, task))
        gathered = source.gather(labelling.run, workspace, config.seed)
    write(data, [*as_structures(gathered.isolated), *gathered.structures])
    told = {**summary(gathered, reference.level_of_theory), **stamps, "md5": md5(data), "inputs": checksums}
    write_json(labels, told)
    if not gathered.failures:  # what failed is tried again by the next call
        journal.remove()
    failed = [f"not labelled: {failure.name}: {failure.reason}" for failure in gathered.failures]
    for line in [*gathered.found, *failed, f"{told['n_structures']} structures, {told['level_of_theory']}"]:
        console.print(f"label: {line}", markup=False)


def _decisive(config: DictConfig) -> list[object]:
    """What decides the labels: the split does not."""
    return [config.seed, OmegaConf.masked_copy(config.data, [key for key in config.data if key != "split"]), of_labels(config)]


def _report(bar: Bars, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total, said=f"{done} of {total} structures")
