"""Finds what a person wants to compare: folders, sweeps, and runs that MLflow remembers; and what differs between them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from nnpx.comparison.rows import COSTS, ERRORS, Row, row_of_folder
from nnpx.config import read_kept
from nnpx.configuration.schema import leaves
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError
from nnpx.files import read_json
from nnpx.runs import all_runs, find_run, project_tracker

#: settings that say how and where something was kept, and not what was done
_IDLE: Final = ("name", "conf_hash", "tracking")


@final
@dataclass(frozen=True)
class _Found:
    """A run with all its settings under dotted names."""

    row: Row
    settings: Mapping[str, str]


def rows_of(words: Sequence[str], project: Path) -> list[Row]:
    """The runs that the words name, with what differs between them as their choices.

    Args:
        words: folders with a trained potential or the jobs of a sweep; else ids of MLflow, their beginnings, names of runs, or registered
            potentials (`name@alias`). A run with others below it stands for those.
        project: the folder whose runs are meant.

    Raises:
        ConfigError: if a word names nothing, or several runs.
    """
    found = [one for word in dict.fromkeys(words) for one in (_in_folder(project / word) or _recorded(word, project))]
    keys = {tuple(one.row.choices) for one in found}
    if len(keys) == 1 and keys != {()}:
        return [one.row for one in found]
    choices = differences([one.settings for one in found])
    return [replace(one.row, choices=own) for one, own in zip(found, choices, strict=True)]


def differences(settings: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What differs between runs, each difference once: settings of a noun that always change together are one choice.

    The choice of another class is called by the noun and the class, any other by the shortest of its keys. What only one of the classes has
    follows from that choice.
    """
    keys = dict.fromkeys(key for one in settings for key in one if key.partition(".")[0] not in _IDLE)
    together: dict[tuple[object, ...], list[str]] = {}
    for key in keys:
        values = [one.get(key) for one in settings]
        if len(set(values)) > 1 and not _follows(key, settings):
            pattern = tuple(values.index(value) for value in values)
            together.setdefault((key.partition(".")[0], pattern), []).append(key)
    named: dict[str, str] = {}
    for own in together.values():
        target = [key for key in own if key.endswith("._target_")]
        key = min(target or own, key=len)
        named[key.removesuffix("._target_")] = key
    return [{name: _level(one.get(key, ""), key) for name, key in named.items()} for one in settings]


def _follows(key: str, settings: Sequence[Mapping[str, str]]) -> bool:
    """Whether all who have the key have one value, and another class than those who lack it."""
    have, lack = [one for one in settings if key in one], [one for one in settings if key not in one]
    nodes = key.split(".")[:-1]
    targets = [".".join([*nodes[: depth + 1], "_target_"]) for depth in range(len(nodes))]
    is_one = len({one[key] for one in have}) == 1
    return is_one and any(
        {one.get(target) for one in have}.isdisjoint(one.get(target) for one in lack) for target in targets if target != key
    )


def _level(value: str, key: str) -> str:
    return value.rpartition(".")[2] if key.endswith("._target_") else value


def _in_folder(folder: Path) -> list[_Found]:
    """The runs whose potentials lie in this folder or, if it is that of a sweep, in those of its jobs."""
    if (folder / "models" / "training.json").is_file() or (folder / "job.json").is_file():
        return [_folder_run(folder)]
    jobs = [path.parent for path in folder.glob("*/job.json")] if folder.is_dir() else []
    return [_folder_run(job) for job in sorted(jobs, key=lambda job: (len(job.name), job.name))]


def _folder_run(folder: Path) -> _Found:
    ticket, result = read_json(folder / "job.json"), read_json(folder / "result.json")
    choices = ticket.get("choices", {})
    failure = "" if not ticket or result.get("status") == "finished" else str(result.get("error", "it has not run"))
    name = " ".join(f"{key}={value}" for key, value in choices.items()) or folder.resolve().name
    settings = {key: value if isinstance(value, str) else json.dumps(value) for key, value in leaves(_config(folder)).items()}
    return _Found(row_of_folder(folder, choices, name, failure), settings)


def _config(folder: Path) -> dict[str, Any]:
    """The experiment that was trained in a folder."""
    if (folder / "config.yaml").is_file():
        return read_kept((folder / "config.yaml").read_text(encoding="utf-8"))
    from nnpx.artifact import read_header

    potential = folder / "models" / "potential.nnpx"
    return dict(read_header(potential)["config"]) if potential.is_file() else {}


def _recorded(word: str, project: Path) -> list[_Found]:
    """The runs of MLflow that a word names."""
    tracker = project_tracker(project)
    runs = all_runs(tracker)
    if "@" in word:
        return [_recorded_run(find_run(tracker, word))]
    named = [run for run in runs if run.info.run_id.startswith(word)] or [run for run in runs if run.info.run_name == word]
    if not named:
        do = suggest(word, [run.info.run_name for run in runs]) or "Look up its id with the dashboard, or name a folder."
        raise ConfigError(word, expected="a folder with a potential, a run's id or name, or name@alias", found="neither", do=do)
    if len(named) > 1:
        shown = ", ".join(run.info.run_id[:8] for run in named[:5])
        raise ConfigError(word, expected="one run", found=f"{len(named)} of them ({shown})", do="Give the beginning of an id.")
    parent = named[0].info.run_id
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent and "ensemble_member" not in run.data.tags]
    return [_recorded_run(run) for run in sorted(below, key=lambda run: run.info.start_time) or named]


def _recorded_run(run: Any) -> _Found:
    found = {one.key: run.data.metrics[one.key] for one in (*ERRORS, *COSTS) if one.key in run.data.metrics}
    choices = json.loads(run.data.tags.get("choices", "{}"))
    failure = "" if run.info.status == "FINISHED" else f"the run is {run.info.status}"
    name = f"{run.info.run_name} ({run.info.run_id[:8]})"
    return _Found(Row(name, choices, found, failure, run.data.tags.get("valid_md5", "")), run.data.params)
