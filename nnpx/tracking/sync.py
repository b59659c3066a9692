"""Delivery after the event: every journal of a project goes to the run that it belongs to, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnpx.files import md5, write_text
from nnpx.tracking.delivery import alone, identify, is_offline, replay
from nnpx.tracking.journal import Journal, journals
from nnpx.tracking.mlflow import MLflow
from nnpx.tracking.store import Refused, Unreachable


@dataclass(frozen=True)
class Synced:
    """What became of the records of one run.

    Attributes:
        began_as: the id under which they were kept.
        run_id: the run in the store; empty where nothing was delivered.
        n_records: records that were sent.
        remarks: what the store declined or why nothing was delivered, in words.
    """

    began_as: str
    run_id: str
    n_records: int
    remarks: list[str]


def waiting(tracker: MLflow) -> list[str]:
    """The runs whose records wait, the oldest first."""
    return journals(tracker.journals)


def sync(tracker: MLflow, run_ids: Sequence[str]) -> list[Synced]:
    """Deliver the records of some runs. A second call at the same time waits for the first and finds nothing to do."""
    outcomes = []
    for run_id in run_ids:
        with alone(tracker.journals, -1.0):
            outcomes.append(_deliver(tracker, Journal(tracker.journals, run_id)))
    return outcomes


def _deliver(tracker: MLflow, journal: Journal) -> Synced:
    if not journal.path.is_file():
        return Synced(journal.run_id, "", 0, ["delivered by another process meanwhile"])
    try:
        starts = [record for record in journal.read()[0] if record["do"] == "start"]
        if is_offline(journal.run_id):  # before the journal that says where is gone
            real_id = identify(tracker.store, tracker.journals, journal.run_id)
            for start in starts:
                _correct(Path(start.get("workspace", ".")), tracker.root, journal.run_id, real_id)
        done = replay(tracker.store, journal)
    except (Unreachable, Refused) as problem:
        return Synced(journal.run_id, "", 0, [str(problem)])
    return Synced(journal.run_id, done.run_id, done.n_records, done.refused)


def _correct(workspace: Path, project: Path, began_as: str, run_id: str) -> None:
    """Write the run's id where the training wrote the one that it began with.

    What DVC has locked stays as it is, or the training would be repeated; a run is found by either id.
    """
    path, lock = workspace / "models" / "training.json", project / "dvc.lock"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    locked = lock.is_file() and text and md5(path) in lock.read_text(encoding="utf-8")
    if began_as in text and not locked:
        write_text(path, text.replace(began_as, run_id))
