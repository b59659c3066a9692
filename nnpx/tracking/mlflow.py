"""Runs in MLflow: on a server, or in one database per project."""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, final

from annotated_types import Ge, Gt

from nnpx.provenance import git_state, version
from nnpx.tracking import PARENT_VARIABLE, Run, Status, Tracker
from nnpx.tracking.delivery import Delivery, is_offline, offline_id
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
        root = Path(os.environ.get("DVC_ROOT", self.workspace)).resolve()
        self.store = Store(store_uri(uri, root), experiment, root, timeout_s)
        self.flush_every_s, self.retry_every_s = flush_every_s, retry_every_s

    def prepare(self) -> None:
        """Create or upgrade the database and the experiment; where that fails, runs are kept in files."""
        try:
            self.store.prepare()
        except (Unreachable, Refused) as problem:
            logger.warning("MLflow store %s: %s", self.store.uri, problem)

    def start(self, name: str, *, parent: str | None, tags: Mapping[str, str]) -> Run:
        """A new run, tagged with version, commit, data and DVC experiment as far as they are known."""
        every = {**self._standard_tags(), **tags}
        if above := parent or os.environ.get(PARENT_VARIABLE):
            every["mlflow.parentRunId"] = above
        try:
            return self._run(self.store.create_run(name, every))
        except (Unreachable, Refused) as problem:
            start: Record = {"do": "start", "name": name, "tags": every, "experiment": self.store.experiment}
            return self._run(offline_id(), silence=problem, first=[start])

    def resume(self, run_id: str) -> Run:
        """The run with this id; one that the store no longer has is started anew. A finished run stays finished."""
        if is_offline(run_id):
            return self._run(run_id, silence=Unreachable("the store was silent when the run began"))
        try:
            return self._run(run_id, closed=self.store.reopen(run_id))
        except Refused:
            logger.warning("MLflow run %s is not in %s: a new run is started", run_id, self.store.uri)
            return self.start(f"resumed {run_id[:8]}", parent=None, tags={"resumes": run_id})
        except Unreachable as problem:
            return self._run(run_id, silence=problem)

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

    def _run(self, run_id: str, *, closed: bool = False, silence: Exception | None = None, first: Sequence[Record] = ()) -> Run:
        journal = self.workspace / ".nnpx" / "tracking" / f"{run_id}.jsonl"
        delivery = Delivery(run_id, self.store, journal, self.retry_every_s)
        if silence is not None:
            delivery.go_offline(silence, first)
        return _Remembered(delivery, self.flush_every_s, closed)

    def _standard_tags(self) -> dict[str, str]:
        git = git_state(self.workspace)
        tags = {**git, "nnpx_version": version("nnpx"), "mlflow.source.name": "nnpx", "mlflow.source.git.commit": git["git_commit"]}
        if experiment := os.environ.get("DVC_EXP_NAME"):
            tags["dvc_exp_name"] = experiment
        return tags


@final
class _Remembered(Run):
    """A run in an MLflow store. `closed`: it had finished before, and its end and status stay as they are."""

    def __init__(self, delivery: Delivery, flush_every_s: float, closed: bool) -> None:
        self.id, self._delivery, self._closed = delivery.run_id, delivery, closed
        self._flush_every_s, self._last_flush = flush_every_s, time.monotonic()
        self._metrics: list[list[str | float | int]] = []

    def log_params(self, values: Mapping[str, object]) -> None:
        for batch in param_batches(values):
            self._delivery.send({"do": "params", "params": batch})

    def log_metrics(self, values: Mapping[str, float | int | None], step: int) -> None:
        now = time.time_ns() // 1_000_000
        self._metrics.extend([key, float(value), now, step] for key, value in values.items() if value is not None)
        if time.monotonic() - self._last_flush >= self._flush_every_s:
            self.flush()

    def log_file(self, path: Path, folder: str = "") -> None:
        self._delivery.send({"do": "file", "path": str(path.resolve()), "folder": folder})

    def log_text(self, text: str, name: str) -> None:
        self._delivery.send({"do": "text", "text": text, "name": name})

    def log_model(self, path: Path, *, name: str, alias: str) -> None:
        self.log_file(path, "model")
        self._delivery.send({"do": "register", "file": path.name, "name": name, "alias": alias})

    def set_tag(self, key: str, value: str) -> None:
        self._delivery.send({"do": "tag", "key": key, "value": value})

    def flush(self) -> None:
        self._last_flush = time.monotonic()
        ready, self._metrics = self._metrics, []
        for first in range(0, len(ready), METRICS_PER_BATCH):
            self._delivery.send({"do": "metrics", "metrics": ready[first : first + METRICS_PER_BATCH]})

    def finish(self, status: Status = "FINISHED") -> None:
        self.flush()
        if not self._closed:
            self._delivery.send({"do": "finish", "status": status, "time": time.time_ns() // 1_000_000})
        self._delivery.last_chance()
