"""What is known of a training: from its run in MLflow, or from the header of its potential's file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nnpx.artifact import read_header
from nnpx.config import read_kept
from nnpx.errors import ConfigError
from nnpx.lineage import CONFIG, CUT, DIFF, INITIAL, LINEAGE, REQUIREMENTS
from nnpx.provenance import PACKAGES
from nnpx.runs import SHORT, all_runs, answer, find_run, project_tracker, run_of
from nnpx.tracking.mlflow import MLflow

#: a learning curve of one member: rows of numbers by name
Curve = list[dict[str, float | int | None]]


@dataclass(frozen=True)
class Recorded:
    """A training as it was recorded.

    Attributes:
        label: how to call it.
        key: its run id, or the name of its file.
        config: the experiment, resolved.
        provenance: commit, versions, processor.
        data_md5: hash of each part of the prepared data.
        versions: installed packages.
        diff: what the code differed in from its commit; None if that was not recorded.
        threads: of torch; 0 if unknown.
        metrics: errors by name.
        curves: of the members, as far as they were recorded.
        potential: the file of the potential; None if there is none.
        initial: the file of the potential that it started from; None if it started from random weights, or if the file was not kept.
        initial_md5: its hash; empty if it started from random weights.
        last_epochs: the last row of each member's curve.
    """

    label: str
    key: str
    config: dict[str, Any]
    provenance: Mapping[str, str]
    data_md5: Mapping[str, str]
    versions: Mapping[str, str]
    diff: str | None
    threads: int
    metrics: Mapping[str, float]
    potential: Path | None
    last_epochs: list[dict[str, float | int | None]]
    curves: list[Curve] = field(default_factory=list)
    initial: Path | None = None
    initial_md5: str = ""

    @property
    def commit(self) -> str:
        """The commit; "none" outside of git."""
        return self.provenance.get("git_commit", "none")

    @property
    def is_complete(self) -> bool:
        """Whether commit and diff are the whole code."""
        return self.provenance.get("git_dirty") != "yes" or (self.diff is not None and CUT not in self.diff[-200:])


def find(word: str, project: Path) -> Recorded:
    """The training that a word names: a run, the beginning of its id, `name@alias`, or a potential's file.

    Raises:
        ConfigError: there is none, or too little was recorded.
        ArtifactError: the file or the registered potential cannot be read.
    """
    path = project / word
    if word.endswith(".nnpx") or path.is_file():
        return from_file(path)
    return from_run(project_tracker(project), word.removeprefix("models:/"))


def from_file(path: Path) -> Recorded:
    """A training by the header of its potential."""
    header = read_header(path)
    provenance = header["provenance"]
    return Recorded(
        label=path.name,
        key=path.name,
        config=header["config"],
        provenance=provenance,
        data_md5=header["card"].get("md5", {}),
        versions={name: provenance[name] for name in PACKAGES if name in provenance},
        diff=None,
        threads=0,
        metrics={},
        potential=path,
        last_epochs=header["training"].get("last_epochs", []),
        initial_md5=provenance.get("initial_md5", ""),
    )


def from_run(tracker: MLflow, word: str) -> Recorded:
    """A training by its run; of a member, the training that it belongs to."""
    run = find_run(tracker, word)
    if "ensemble_member" in run.data.tags and "mlflow.parentRunId" in run.data.tags:
        run = run_of(tracker, run.data.tags["mlflow.parentRunId"])
    run_id = run.info.run_id
    files = _files(tracker, run_id)
    label = f"run {run_id[:SHORT]} ({run.info.run_name})"
    if CONFIG not in files or LINEAGE not in files:
        do = "Name a run of `nnpx train`, or the file of a potential."
        raise ConfigError(word, expected=f"a run that recorded {CONFIG} and {LINEAGE}", found=f"{label} without them", do=do)
    known = json.loads(files[LINEAGE].read_text(encoding="utf-8"))
    initial, potential = (
        next((path for name, path in files.items() if name.startswith(f"{folder}/")), None) for folder in (INITIAL, "model")
    )
    lines = files[REQUIREMENTS].read_text(encoding="utf-8").split() if REQUIREMENTS in files else []
    return Recorded(
        label=label,
        key=run_id,
        config=read_kept(files[CONFIG].read_text(encoding="utf-8")),
        provenance=known["provenance"],
        data_md5=known["data_md5"],
        versions=dict(line.split("==", 1) for line in lines),
        diff=files[DIFF].read_text(encoding="utf-8") if DIFF in files else "",
        threads=known["device"]["threads"],
        metrics=dict(run.data.metrics),
        potential=potential,
        last_epochs=read_header(potential)["training"].get("last_epochs", []) if potential else [],
        curves=_curves(tracker, run_id),
        initial=initial,
        initial_md5=known.get("initial_md5", ""),
    )


def _files(tracker: MLflow, run_id: str) -> dict[str, Path]:
    """The files of the run that say what it came from, and its potential, by name."""
    from mlflow.artifacts import download_artifacts

    client, folder = tracker.store.client, tracker.root / ".nnpx" / "reproduce" / "recorded" / run_id
    there = [file.path for place in ("", "model", INITIAL) for file in answer(tracker, partial(client.list_artifacts, run_id, place))]
    wanted = [name for name in there if name in (CONFIG, LINEAGE, REQUIREMENTS, DIFF) or name.startswith((f"{INITIAL}/", "model/"))]

    def fetch(name: str) -> Path:
        place = (folder / name).parent  # MLflow puts the file itself there
        place.mkdir(parents=True, exist_ok=True)
        words = {"run_id": run_id, "artifact_path": name, "dst_path": str(place), "tracking_uri": tracker.store.uri}
        return Path(answer(tracker, lambda: download_artifacts(**words)))

    return {name: fetch(name) for name in wanted}


def _curves(tracker: MLflow, run_id: str) -> list[Curve]:
    """The learning curves of the members, from the runs nested below theirs."""
    client = tracker.store.client
    nested = [run for run in all_runs(tracker) if run.data.tags.get("mlflow.parentRunId") == run_id and "ensemble_member" in run.data.tags]
    curves = []
    for run in sorted(nested, key=lambda run: int(run.data.tags["ensemble_member"])):
        rows: dict[int, dict[str, float | int | None]] = {}
        for key in run.data.metrics:
            for point in answer(tracker, partial(client.get_metric_history, run.info.run_id, key)):
                rows.setdefault(point.step, {})[key] = point.value
        curves.append([rows[step] for step in sorted(rows)])
    return curves
