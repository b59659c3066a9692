"""The way of a run's records to the store, also when it does not answer."""

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from nnpx.tracking.journal import Journal
from nnpx.tracking.records import Record, with_checksum
from nnpx.tracking.store import Refused, Store, Unreachable

logger = logging.getLogger(__name__)
#: s; how long the end of a run waits for another process that delivers
PATIENCE_S: Final = 30.0


@final
class Delivery:
    """The way of a run's records to the store, and what happens to them while it is silent.

    Args:
        run_id: the run.
        store: where the records go.
        journal: keeps the records while the store does not answer.
        retry_every_s: s; pause before a silent store is asked again.
    """

    def __init__(self, run_id: str, store: Store, journal: Journal, retry_every_s: float) -> None:
        self.run_id, self._store, self._journal, self._retry_every_s = run_id, store, journal, retry_every_s
        self._real_id = run_id
        self._unwritten: list[Record] = []  # what neither the store nor the disk takes
        self._silent_since: float | None = None

    def send(self, record: Record) -> None:
        """Write the record to the store, or to the journal while the store is silent."""
        if self._silent_since is None:
            try:
                apply(self._store, self._real_id, record)
            except Unreachable as problem:
                self.go_offline(problem, [record])
            return
        self._keep(record)
        if time.monotonic() - self._silent_since >= self._retry_every_s:
            self.deliver()

    def go_offline(self, problem: Exception, records: Sequence[Record]) -> None:
        """Keep `records` and all that follow in the journal; says so once for all runs."""
        say_silence(self._store, self._journal.folder, problem)
        self._silent_since = time.monotonic()
        for record in records:
            self._keep(record)

    def deliver(self, patience_s: float = 0.0) -> None:
        """Send what is kept, in order; does nothing while another process delivers, or while the store is silent."""
        self._silent_since = time.monotonic()
        try:
            with alone(self._journal.folder, patience_s):
                self._real_id = replay(self._store, self._journal).run_id
            while self._unwritten:
                apply(self._store, self._real_id, self._unwritten[0], again=True)
                self._unwritten.pop(0)
        except (Unreachable, Refused, OSError) as problem:
            logger.info("not delivered: %s", problem)
            return
        self._silent_since = None

    def last_chance(self) -> None:
        """Ask a silent store once more, whatever the pause."""
        if self._silent_since is not None:
            self.deliver(PATIENCE_S)

    def _keep(self, record: Record) -> None:
        """Add to the journal, or to memory while the disk takes nothing."""
        self._unwritten.append(with_checksum(record))
        try:
            self._journal.append([*self._header(), *self._unwritten])
            self._unwritten = []
        except OSError as problem:
            self._store.warn_once("disk", f"{self._journal.folder} cannot be written: {problem}. What MLflow misses stays in memory")

    def _header(self) -> list[Record]:
        return [] if self._journal.path.is_file() else [{"do": "store", "place": self._store.place}]


@dataclass(frozen=True)
class Replayed:
    """What became of a journal.

    Attributes:
        run_id: the run in the store.
        n_records: records that were sent.
        refused: what the store declined, in words.
    """

    run_id: str
    n_records: int
    refused: list[str]


def replay(store: Store, journal: Journal) -> Replayed:
    """Send a journal to the run that it belongs to, which is created where it began without a store, and remove it.

    May be interrupted anywhere and done again: what has arrived is not sent twice. To be called `alone`.

    Raises:
        Unreachable: the store does not answer; the journal stays.
        Refused: the store does not have the run, or is not the one that the journal was written for; the journal stays.
    """
    real_id, done, refused = "", 0, []
    while True:
        records, size = journal.read()
        places = [record["place"] for record in records if record["do"] == "store" and record["place"] != store.place]
        if places:
            raise Refused(f"the records of {journal.run_id} belong to {places[0]}, the project's store is {store.place}")
        real_id = real_id or identify(store, journal.folder, journal.run_id)
        store.check_run(real_id)
        for record in [record for record in records if record["do"] not in ("store", "start")][done:]:
            refused += apply(store, real_id, record, again=True)
            done += 1
        if journal.remove(size):
            return Replayed(real_id, done, refused)


def identify(store: Store, folder: Path, run_id: str) -> str:
    """The id of a run in the store. One that began without the store is found by the id it began with, or created.

    Raises:
        Unreachable: the store does not answer.
        Refused: the store has no such run and there is no journal that tells how it began.
    """
    if not is_offline(run_id):
        return run_id
    if found := store.find(run_id):
        return found
    starts = [record for record in Journal(folder, run_id).read()[0] if record["do"] == "start"]
    if not starts:
        raise Refused(f"there is no run that began as {run_id}, and no journal of it")
    tags = dict(starts[0]["tags"])
    if above := tags.get("mlflow.parentRunId"):
        tags["mlflow.parentRunId"] = identify(store, folder, above)
    return store.create_run(starts[0]["name"], tags, key=run_id, time_ms=starts[0].get("time"), experiment=starts[0]["experiment"])


def apply(store: Store, run_id: str, record: Record, *, again: bool = False) -> list[str]:
    """Write one record; says and returns what the store declines."""
    try:
        store.apply(run_id, record, again=again)
    except Refused as problem:
        logger.warning("MLflow refused to record %s of run %s: %s", record["do"], run_id, problem)
        return [f"{record['do']}: {problem}"]
    return []


@contextmanager
def alone(folder: Path, patience_s: float) -> Iterator[None]:
    """While this runs, no other process delivers journals of the project; a killed one lets go by itself.

    Raises:
        TimeoutError: another process delivers for longer than `patience_s` (s); negative waits for ever.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "delivery.lock", timeout=patience_s):
        yield


def say_silence(store: Store, folder: Path, problem: Exception) -> None:
    """Tell the user, once, that the store is silent and what becomes of the records."""
    store.warn_once("silence", f"MLflow does not answer ({problem}). Going on; the records are kept in {folder}, `nnpx sync` delivers them")


def offline_id() -> str:
    """An id for a run that the store has not named yet."""
    return f"offline-{uuid.uuid4().hex}"


def is_offline(run_id: str) -> bool:
    """Whether the run began without a store."""
    return run_id.startswith("offline-")
