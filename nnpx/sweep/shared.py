"""The data of a sweep: labelled and prepared once for each distinct choice of data, then read by all jobs that chose it."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig

from nnpx.config import fingerprint
from nnpx.configuration.schema import plain
from nnpx.errors import NNPXError
from nnpx.files import read_json
from nnpx.sweep.files import LOCK, writable
from nnpx.sweep.grid import Grid, Job
from nnpx.upstream import BEFORE, READS, STAMPS, files_named, is_current, link_files, stamp
from nnpx.verbs import run_verb

#: what prepared data consist of, below data/
_PARTS: Final = ("labelled.extxyz", "labels.json", "prepared")


def share_data(grid: Grid) -> None:
    """Labels and prepares what the jobs read, unless it is there; a job whose data cannot be had is marked as failed.

    The project's own data are copied where they fit: they may change while the sweep runs.
    """
    if not set(STAMPS) <= set(BEFORE.get(grid.verb, ())):
        for job in grid.jobs:
            job.data = _checksums(job.config, grid.project)
        return
    made: dict[Path, str] = {}
    for job in grid.jobs:
        folder = _folder(job.config, grid.project)
        if folder not in made:
            made[folder] = _make(job, folder, grid)
        job.failure = made[folder]
        if job.failure:
            sys.stderr.write(f"error: job {job.number} ({' '.join(job.overrides)}): {job.failure}\n")
        job.shared = folder
        job.data = {**_checksums(job.config, grid.project), **read_json(folder / STAMPS["prepare"]).get("md5", {})}


def _make(job: Job, folder: Path, grid: Grid) -> str:
    """Prepares the data of a job in a folder, one process at a time; returns why that failed, if it did."""
    from filelock import FileLock

    with writable(grid.shown(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        if _is_there(job.config, folder):
            return ""
        try:
            with writable(grid.shown(folder)):
                at_hand = _is_there(job.config, grid.project)
                if at_hand:
                    _copy(grid.project / "data", folder / "data")
                link_files(job.config, grid.project, folder)
                if not at_hand:
                    sys.stdout.write(f"sweep: preparing the data of {job.name}\n")
                    run_verb("prepare", job.config, folder, alone=False)
        except NNPXError as problem:
            return str(problem)
    return ""


def _folder(config: DictConfig, project: Path) -> Path:
    """Where the data that this experiment describes are kept; two sweeps that want the same share them."""
    source = read_json(project / STAMPS["label"]).get("md5") if _is_there(config, project) else None
    files = _checksums([plain(config[part]) for part in READS["label"]], project)
    key = fingerprint(*(stamp(verb, config) for verb in STAMPS), files, source)
    return project / ".nnpx" / "shared" / key


def _is_there(config: DictConfig, folder: Path) -> bool:
    return all(is_current(verb, config, folder) for verb in STAMPS)


def _checksums(described: Any, project: Path) -> dict[str, str]:
    """Checksums of the files that an experiment, or a part of it, names."""
    from nnpx.files import md5

    return {str(path): md5(project / path) for path in files_named(plain(described), project)}


def _copy(source: Path, target: Path) -> None:
    """The data of a folder, complete or not at all."""
    draft = target.with_name(f".data.{os.getpid()}")
    draft.mkdir()
    for name in _PARTS:
        if (source / name).is_dir():
            shutil.copytree(source / name, draft / name)
        else:
            shutil.copy2(source / name, draft / name)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
