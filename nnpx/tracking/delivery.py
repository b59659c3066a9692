"""The way of a run's records to the store, also when it does not answer."""

import json
import logging
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import final

from nnpx.tracking.records import Record
from nnpx.tracking.store import Refused, Store, Unreachable

logger = logging.getLogger(__name__)


@final
class Delivery:
    """The way of a run's records to the store, and what happens to them while it is silent.

    Args:
        run_id: the run.
        store: where the records go.
        journal: the file that keeps them, one JSON object per line, while the store does not answer.
        retry_every_s: s; pause before a silent store is asked again.
    """

    def __init__(self, run_id: str, store: Store, journal: Path, retry_every_s: float) -> None:
        self.run_id, self._store, self._journal, self._retry_every_s = run_id, store, journal, retry_every_s
        self._waiting: list[Record] = []
        self._silent_since: float | None = None

    def send(self, record: Record) -> None:
        """Write the record to the store, or to the journal while the store is silent."""
        if self._silent_since is None:
            try:
                self._attempt(record)
            except Unreachable as problem:
                self.go_offline(problem, [record])
            return
        self._keep(record)
        if time.monotonic() - self._silent_since >= self._retry_every_s:
            self._deliver()

    def go_offline(self, problem: Exception, records: Sequence[Record]) -> None:
        """Keep `records` and all that follow in the journal; says so once."""
        logger.warning("MLflow does not answer (%s). Going on; the records are kept in %s", problem, self._journal)
        self._silent_since = time.monotonic()
        for record in records:
            self._keep(record)

    def last_chance(self) -> None:
        """Ask a silent store once more, whatever the pause."""
        if self._waiting:
            self._deliver()

    def _attempt(self, record: Record) -> None:
        try:
            self._store.apply(self.run_id, record)
        except Refused as problem:
            logger.warning("MLflow refused to record %s of run %s: %s", record["do"], self.run_id, problem)

    def _keep(self, record: Record) -> None:
        self._waiting.append(record)
        try:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as problem:
            logger.warning("%s cannot be written: %s", self._journal, problem)

    def _deliver(self) -> None:
        """Send the kept records in order; after the last one the journal is not needed any more."""
        if is_offline(self.run_id):
            return  # the store has never heard of this run; its journal is all there is
        try:
            while self._waiting:
                self._attempt(self._waiting[0])
                self._waiting.pop(0)
        except Unreachable:
            self._silent_since = time.monotonic()
            return
        self._silent_since = None
        self._journal.unlink(missing_ok=True)


def offline_id() -> str:
    """An id for a run that the store could not name."""
    return f"offline-{uuid.uuid4().hex}"


def is_offline(run_id: str) -> bool:
    """Whether the run exists in the journal only."""
    return run_id.startswith("offline-")
