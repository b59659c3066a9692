"""The store behind the runs: MLflow's client, addressed by explicit run ids, imported only when it is needed."""

import contextlib
import importlib
import logging
import os
import random
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar, final

from nnpx.errors import ConfigError
from nnpx.files import md5
from nnpx.tracking.records import Record

T = TypeVar("T")
logger = logging.getLogger(__name__)
#: characters that MLflow takes as a tag's value
TAG_LENGTH: Final = 8000
#: the tag that holds the id under which a run began: whoever is not sure whether it was created looks for it
KEY_TAG: Final = "nnpx_began_as"
#: answers of a store that is alive and does not want the record; any other failure counts as silence
REFUSALS: Final = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")


class Unreachable(Exception):  # noqa: N818  a state of the store, not a mistake of the user
    """The store does not answer."""


class Refused(Exception):  # noqa: N818  likewise
    """The store answers and declines the record."""


def store_uri(uri: str | None, root: Path) -> str:
    """The store's address with an absolute path: `uri`, else $MLFLOW_TRACKING_URI, else `mlflow.db` in `root`."""
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme = "sqlite:///"
    return f"{scheme}{root / chosen.removeprefix(scheme)}" if chosen.startswith(scheme) else chosen


@final
class Store:
    """MLflow at one address. Holds no connection until it is used, so it can be sent to a worker process.

    Args:
        uri: the address, absolute.
        experiment: the list in which the runs appear.
        root: the folder for the artifacts of a local store.
        timeout_s: s; how long a server may take to answer, and how long a locked database is asked again.

    Raises:
        Unreachable: from every method, when the store does not answer.
        Refused: from every method, when it declines.
    """

    def __init__(self, uri: str, experiment: str, root: Path, timeout_s: int) -> None:
        self.uri, self.experiment, self.root, self.timeout_s = uri, experiment, root, timeout_s
        self._told: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "client"}

    @property
    def place(self) -> str:
        """The address without passwords; a database file may move with its project."""
        return "the project's database" if self.uri.startswith("sqlite:") else re.sub(r"//[^/@]*@", "//", self.uri)

    def warn_once(self, kind: str, message: str) -> None:
        """Warn the user, once for all runs of this store."""
        if kind not in self._told:
            self._told.add(kind)
            logger.warning("%s", message)

    def prepare(self) -> None:
        """Create or upgrade the store and the experiment, one process at a time."""
        from filelock import FileLock

        lock = self.root / ".nnpx" / "tracking" / "store.lock"

        def create() -> None:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=60):
                self.experiment_id()

        self.ask(create)

    def page(self) -> str:
        """Path of the runs in the dashboard, which otherwise opens on language models; empty while the store is silent."""
        try:
            return f"/#/experiments/{self.ask(self.experiment_id)}/runs?workflowType=machine_learning"
        except (Unreachable, Refused):
            return ""

    def create_run(self, name: str, tags: Mapping[str, str], *, key: str, time_ms: int | None, experiment: str | None = None) -> str:
        """A new run that began as `key` at `time_ms` (ms since 1970); its id."""
        short = {tag: value[:TAG_LENGTH] for tag, value in {**tags, KEY_TAG: key}.items()}

        def create() -> str:
            made = self.client.create_run(self.experiment_id(experiment), start_time=time_ms, tags=short, run_name=name)
            return str(made.info.run_id)

        return self.ask(create)

    def find(self, key: str) -> str:
        """The id of the run that began as `key`; empty where there is none."""
        from mlflow.entities import ViewType

        def search() -> str:
            everywhere = [one.experiment_id for one in self.client.search_experiments(view_type=ViewType.ALL)]
            found = self.client.search_runs(everywhere, f"tags.{KEY_TAG} = '{key}'", run_view_type=ViewType.ALL, max_results=1)
            return str(found[0].info.run_id) if found else ""

        return self.ask(search)

    def check_run(self, run_id: str) -> None:
        """Nothing if the run is there.

        Raises:
            Refused: the store has no such run, or it was deleted.
        """
        run = self.ask(lambda: self.client.get_run(run_id))
        if run.info.lifecycle_stage != "active":
            raise Refused(f"run {run_id} was deleted")

    def is_running(self, run_id: str) -> bool:
        """Whether nobody has said yet how the run ended."""
        return self.ask(lambda: bool(self.client.get_run(run_id).info.status == "RUNNING"))

    def reopen(self, run_id: str) -> bool:
        """Whether the run had finished; one that had failed or was killed is set running again."""

        def reopen() -> bool:
            finished = bool(self.client.get_run(run_id).info.status == "FINISHED")
            if not finished:
                self.client.update_run(run_id, status="RUNNING")
            return finished

        return self.ask(reopen)

    def apply(self, run_id: str, record: Record, *, again: bool = False) -> None:
        """Write one record. `again`: it may have arrived before, in part or as a whole, and is then completed."""
        self.ask(lambda: self._write(run_id, record, again))

    def _write(self, run_id: str, record: Record, again: bool) -> None:
        match record["do"]:
            case "params":
                self._params(run_id, record["params"])
            case "metrics":
                self._metrics(run_id, record["metrics"], again)
            case "tag":
                self.client.set_tag(run_id, record["key"], record["value"][:TAG_LENGTH])
            case "file":
                self._file(run_id, record)
            case "text":
                self.client.log_text(run_id, record["text"], record["name"])
            case "register":
                self._register(run_id, record, again)
            case "finish":
                self.client.set_terminated(run_id, record["status"], record["time"])
            case other:
                raise Refused(f"a record of the kind {other!r}")

    def _params(self, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        known = self.client.get_run(run_id).data.params
        changed = sorted(key for key, value in params.items() if known.get(key, value) != value)
        self.client.log_batch(run_id, params=[Param(key, value) for key, value in params.items() if key not in known])
        if changed:
            raise Refused(f"{', '.join(changed)}: a parameter cannot change, its first value stays")

    def _metrics(self, run_id: str, metrics: list[list[Any]], again: bool) -> None:
        from mlflow.entities import Metric

        keys = sorted({key for key, *_ in metrics}) if again else []
        known = {repr([key, p.value, p.timestamp, p.step]) for key in keys for p in self.client.get_metric_history(run_id, key)}
        self.client.log_batch(run_id, metrics=[Metric(*metric) for metric in metrics if repr(metric) not in known])

    def _file(self, run_id: str, record: Record) -> None:
        path = Path(record["path"])
        if not path.exists():
            raise Refused(f"{path.name} does not exist")
        if "md5" in record and md5(path) != record["md5"]:
            raise Refused(f"{path.name} is not the file any more that the run wrote")
        self.client.log_artifact(run_id, str(path), record["folder"] or None)

    def _register(self, run_id: str, record: Record, again: bool) -> None:
        name, alias = record["name"], record["alias"]
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        run = self.client.get_run(run_id)
        source = f"{run.info.artifact_uri}/model/{record['file']}"
        there = self.client.search_model_versions(f"run_id = '{run_id}'") if again else []
        numbers = [one.version for one in there if (one.name, one.source) == (name, source)]
        number = numbers[0] if numbers else self.client.create_model_version(name, source=source, run_id=run_id).version
        if not alias:
            return
        aliases = self.client.get_registered_model(name).aliases if again else {}
        if alias in aliases:  # what arrives late does not replace what began after it
            holder = self.client.get_run(self.client.get_model_version(name, aliases[alias]).run_id)
            if holder.info.start_time > run.info.start_time:
                return
        self.client.set_registered_model_alias(name, alias, number)

    def experiment_id(self, name: str | None = None) -> str:
        """The id of an experiment of MLflow, which is created where it is missing."""
        name = name or self.experiment
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # a local store without it scatters files over whatever the working directory is; a server knows its own place
        local = (self.root / "mlartifacts" / name).as_uri() if self.uri.startswith("sqlite:") else None
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self.client.create_experiment(name, artifact_location=local, tags=kind))

    @cached_property
    def client(self) -> Any:
        """MLflow's client. To be used within `ask`."""
        if self.uri.startswith("sqlite:///"):  # MLflow tries for minutes to open what cannot be opened
            with contextlib.closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as database:
                database.execute("PRAGMA user_version")
        return _mlflow(self.timeout_s).MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def ask(self, question: Callable[[], T]) -> T:
        """The answer to a question that may be asked again; a database that others are writing to is asked for `timeout_s`."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return self._ask(question)
            except Unreachable as problem:
                if "locked" not in str(problem) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.01, 0.1))

    def _ask(self, question: Callable[[], T]) -> T:
        """MLflow's, SQLAlchemy's and the network's errors as `Unreachable` or `Refused`."""
        _mlflow(self.timeout_s)  # a missing mlflow is a ConfigError, not silence
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return question()
        except MlflowException as problem:
            kind = Refused if problem.error_code in REFUSALS else Unreachable
            raise kind(_first_line(problem)) from problem
        except (SQLAlchemyError, sqlite3.Error, OSError) as problem:
            raise Unreachable(_first_line(problem)) from problem


def _mlflow(timeout_s: int) -> Any:
    """The package, imported when it is needed and told to be quiet."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout_s))
    # what is repeated blindly may arrive twice: `Delivery` repeats instead, after asking what has arrived
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mlflow = importlib.import_module("mlflow")
        except ImportError as problem:
            raise ConfigError("tracking", expected="the package mlflow", found=str(problem), do="pip install mlflow") from problem
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a locked database is waited for
    return mlflow


def _first_line(problem: Exception) -> str:
    lines = str(problem).splitlines()
    return lines[0][:300] if lines else type(problem).__name__
