"""Runs in MLflow: on a server, or in one database per project."""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, final

from annotated_types import Ge, Gt

from nnpx.provenance import git_state, version
from nnpx.tracking import PARENT_VARIABLE, Run, Status, Tracker
from nnpx.tracking.delivery import PATIENCE_S, Delivery, alone, identify, is_offline, offline_id, replay, say_silence
from nnpx.tracking.journal import FOLDER, Journal
from nnpx.tracking.pulse import Pulse, dead, forget, is_alive
from nnpx.tracking.records import Record, param_batches
from nnpx.tracking.store import Refused, Store, Unreachable, store_uri
from nnpx.wiring import Wired

logger = logging.getLogger(__name__)
#: MLflow takes so many metrics in one batch
METRICS_PER_BATCH: Final = 1000


@final
class MLflow(Tracker):
    """One MLflow store per project, written through the client API.

    Args:
        uri: a server or a database; None for $MLFLOW_TRACKING_URI, else `mlflow.db` in $DVC_ROOT or the workspace. Decided at run time.
        experiment: the list in which the runs appear.
        flush_every_s: s; metrics wait this long at most.
        retry_every_s: s; pause before a silent store is asked again.
        timeout_s: s; a server that takes longer counts as silent.
        workspace: the project folder.
    """

    def __init__(
        self,
        *,
        uri: str | None,
        experiment: str,
        flush_every_s: Annotated[float, Ge(0)],
        retry_every_s: Annotated[float, Ge(0)],
        timeout_s: Annotated[int, Gt(0)],
        workspace: Wired[Path],
    ) -> None:
        self.workspace = workspace.resolve()
        self.root = Path(os.environ.get("DVC_ROOT", self.workspace)).resolve()
        self.store = Store(store_uri(uri, self.root), experiment, self.root, timeout_s)
        self.journals = self.root / FOLDER
        self.flush_every_s, self.retry_every_s = flush_every_s, retry_every_s

    def prepare(self) -> None:
        """Create or upgrade the database and the experiment; where that fails, runs are kept in files. Runs that were killed are closed."""
        try:
            self.store.prepare()
            with suppress(OSError):  # another process delivers, or the disk takes nothing: next time
                self._close_what_was_killed()
        except (Unreachable, Refused) as problem:
            say_silence(self.store, self.journals, problem)

    def start(self, name: str, *, parent: str | None, tags: Mapping[str, str]) -> Run:
        """A new run, tagged with version, commit, data and DVC experiment as far as they are known."""
        every, key, now = {**self._standard_tags(), **tags}, offline_id(), time.time_ns() // 1_000_000
        try:
            if above := parent or os.environ.get(PARENT_VARIABLE):
                every["mlflow.parentRunId"] = above
                every["mlflow.parentRunId"] = self.real_id(above)
            run_id = self.store.create_run(name, every, key=key, time_ms=now)
            return self._run(run_id, Pulse(self.journals, run_id))
        except (Unreachable, Refused, OSError) as problem:
            how: Record = {"name": name, "tags": every, "experiment": self.store.experiment, "time": now, "workspace": str(self.workspace)}
            return self._run(key, Pulse(self.journals, key), silence=problem, first=[{"do": "start", **how}])

    def resume(self, run_id: str) -> Run:
        """The run with this id; one that the store no longer has is started anew. A finished run stays finished."""
        pulse = Pulse(self.journals, run_id)  # before it runs again, so that nobody takes it for one that was killed
        try:
            real_id = self.real_id(run_id)
            if self.store.reopen(real_id):
                pulse.end()
                return self._run(real_id, None, began_as=run_id)
            return self._run(real_id, pulse, began_as=run_id)
        except Refused:
            pulse.end()
            logger.warning("MLflow run %s is not in %s: a new run is started", run_id, self.store.place)
            return self.start(f"resumed {run_id[:8]}", parent=None, tags={"resumes": run_id})
        except (Unreachable, OSError) as problem:
            return self._run(run_id, pulse, silence=problem)

    def real_id(self, run_id: str) -> str:
        """The id of a run in the store, which names it now if it began without the store.

        Raises:
            Unreachable: the store does not answer.
            Refused: there is no such run.
            OSError: another process is doing the same, or the disk takes nothing.
        """
        if not is_offline(run_id):
            return run_id
        with alone(self.journals, PATIENCE_S):
            return identify(self.store, self.journals, run_id)

    def dashboard(self) -> list[str]:
        """The command that serves the database, as short as it works from the project folder, and the address of the runs."""
        page = self.store.page()
        if self.store.uri.startswith("http"):
            return [self.store.uri + page]
        program = Path(sys.executable).parent / "mlflow"
        inside = program.is_relative_to(self.workspace)
        uri = self.store.uri.replace(f"sqlite:///{self.workspace}/", "sqlite:///")
        command = f"{program.relative_to(self.workspace) if inside else program.name} ui --workers 1 --backend-store-uri {uri}"
        return [command, f"http://127.0.0.1:5000{page}"]

    def _run(
        self, run_id: str, pulse: Pulse | None, *, silence: Exception | None = None, first: Sequence[Record] = (), began_as: str = ""
    ) -> Run:
        journal = Journal(self.journals, began_as or run_id)
        delivery = Delivery(run_id, self.store, journal, self.retry_every_s)
        if silence is not None:
            delivery.go_offline(silence, first)
        elif journal.path.is_file():
            delivery.deliver(PATIENCE_S)  # what came before comes first
        return _Remembered(delivery, self.flush_every_s, pulse)

    def _close_what_was_killed(self) -> None:
        """Runs whose processes are gone, as of when they were last heard of; one that the store does not have needs no end."""
        for run_id, last_s in dead(self.journals).items():
            with suppress(Refused):
                real_id, journal = self.real_id(run_id), Journal(self.journals, run_id)
                if journal.path.is_file():
                    with alone(self.journals, 0.0):
                        replay(self.store, journal)
                if self.store.is_running(real_id) and not is_alive(self.journals, real_id):
                    self.store.apply(real_id, {"do": "finish", "status": "KILLED", "time": round(1000 * last_s)})
                    if is_alive(self.journals, run_id) or is_alive(self.journals, real_id):  # somebody has taken it up meanwhile
                        self.store.reopen(real_id)
            forget(self.journals, run_id)

    def _standard_tags(self) -> dict[str, str]:
        git = git_state(self.workspace)
        tags = {**git, "nnpx_version": version("nnpx"), "mlflow.source.name": "nnpx", "mlflow.source.git.commit": git["git_commit"]}
        if experiment := os.environ.get("DVC_EXP_NAME"):
            tags["dvc_exp_name"] = experiment
        return tags


@final
class _Remembered(Run):
    """A run in an MLflow store. One that had finished before has no pulse, and its end and status stay as they are."""

    def __init__(self, delivery: Delivery, flush_every_s: float, pulse: Pulse | None) -> None:
        self.id, self._delivery, self._pulse = delivery.run_id, delivery, pulse
        self._flush_every_s, self._last_flush = flush_every_s, time.monotonic()
        self._clock = time.time_ns() - time.monotonic_ns()
        self._metrics: list[list[str | float | int]] = []

    def log_params(self, values: Mapping[str, object]) -> None:
        for batch in param_batches(values):
            self._send({"do": "params", "params": batch})

    def log_metrics(self, values: Mapping[str, float | int | None], step: int) -> None:
        now = self._now_ms()
        self._metrics.extend([key, float(value), now, step] for key, value in values.items() if value is not None)
        if time.monotonic() - self._last_flush >= self._flush_every_s:
            self.flush()

    def log_file(self, path: Path, folder: str = "") -> None:
        self._send({"do": "file", "path": str(path.resolve()), "folder": folder})

    def log_text(self, text: str, name: str) -> None:
        self._send({"do": "text", "text": text, "name": name})

    def log_model(self, path: Path, *, name: str, alias: str) -> None:
        self.log_file(path, "model")
        self._send({"do": "register", "file": path.name, "name": name, "alias": alias})

    def set_tag(self, key: str, value: str) -> None:
        self._send({"do": "tag", "key": key, "value": value})

    def flush(self) -> None:
        self._last_flush = time.monotonic()
        ready, self._metrics = self._metrics, []
        for first in range(0, len(ready), METRICS_PER_BATCH):
            self._send({"do": "metrics", "metrics": ready[first : first + METRICS_PER_BATCH]})

    def finish(self, status: Status = "FINISHED") -> None:
        self.flush()
        if self._pulse is not None:
            self._send({"do": "finish", "status": status, "time": self._now_ms()})
        self._delivery.last_chance()
        if self._pulse is not None:
            self._pulse.end()

    def _send(self, record: Record) -> None:
        self._delivery.send(record)
        if self._pulse is not None:
            self._pulse.beat()

    def _now_ms(self) -> int:
        """Milliseconds since 1970 by a clock that never jumps: MLflow draws a curve in the order of its times."""
        return (self._clock + time.monotonic_ns()) // 1_000_000
