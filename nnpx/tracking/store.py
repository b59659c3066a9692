"""The store behind the runs: MLflow's client, addressed by explicit run ids, imported only when it is needed."""

import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

from nnpx.errors import ConfigError
from nnpx.tracking.records import Record

#: characters that MLflow takes as a tag's value
TAG_LENGTH: Final = 8000
#: answers of a store that is alive and does not want the record; any other failure counts as silence
REFUSALS: Final = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")


class Unreachable(Exception):  # noqa: N818  a state of the store, not a mistake of the user
    """The store does not answer."""


class Refused(Exception):  # noqa: N818
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
        timeout_s: s; how long a server may take to answer.

    Raises:
        Unreachable: from every method, when the store does not answer.
        Refused: from every method, when it declines.
    """

    def __init__(self, uri: str, experiment: str, root: Path, timeout_s: int) -> None:
        self.uri, self.experiment, self.root, self.timeout_s = uri, experiment, root, timeout_s

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_client"}

    def prepare(self) -> None:
        """Create or upgrade the store and the experiment, one process at a time."""
        from filelock import FileLock, Timeout

        lock = self.root / ".nnpx" / "tracking" / "store.lock"
        with self._translated():
            lock.parent.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(lock, timeout=60):
                    self._experiment_id()
            except Timeout as problem:
                raise Unreachable(f"{lock} is held by another process") from problem

    def page(self) -> str:
        """Path of the runs in the dashboard, which otherwise opens on language models; empty while the store is silent."""
        try:
            with self._translated():
                return f"/#/experiments/{self._experiment_id()}/runs?workflowType=machine_learning"
        except (Unreachable, Refused):
            return ""

    def create_run(self, name: str, tags: Mapping[str, str]) -> str:
        """A new run; its id."""
        with self._translated():
            short = {key: value[:TAG_LENGTH] for key, value in tags.items()}
            run = self._client.create_run(self._experiment_id(), tags=short, run_name=name)
            return str(run.info.run_id)

    def reopen(self, run_id: str) -> bool:
        """Whether the run had finished; one that had failed or was killed is set running again."""
        with self._translated():
            finished = bool(self._client.get_run(run_id).info.status == "FINISHED")
            if not finished:
                self._client.update_run(run_id, status="RUNNING")
            return finished

    def apply(self, run_id: str, record: Record) -> None:
        """Write one record."""
        with self._translated():
            match record["do"]:
                case "params":
                    self._params(run_id, record["params"])
                case "metrics":
                    self._metrics(run_id, record["metrics"])
                case "tag":
                    self._client.set_tag(run_id, record["key"], record["value"][:TAG_LENGTH])
                case "file":
                    self._file(run_id, Path(record["path"]), record["folder"])
                case "text":
                    self._client.log_text(run_id, record["text"], record["name"])
                case "register":
                    self._register(run_id, record)
                case "finish":
                    self._client.set_terminated(run_id, record["status"], record["time"])
                case other:
                    raise Refused(f"a record of the kind {other!r}")

    def _params(self, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        known = self._client.get_run(run_id).data.params
        changed = sorted(key for key, value in params.items() if known.get(key, value) != value)
        self._client.log_batch(run_id, params=[Param(key, value) for key, value in params.items() if key not in known])
        if changed:
            raise Refused(f"{', '.join(changed)}: a parameter cannot change, its first value stays")

    def _metrics(self, run_id: str, metrics: list[list[Any]]) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(run_id, metrics=[Metric(key, value, time, step) for key, value, time, step in metrics])

    def _file(self, run_id: str, path: Path, folder: str) -> None:
        if not path.exists():
            raise Refused(f"{path.name} does not exist")
        self._client.log_artifact(run_id, str(path), folder or None)

    def _register(self, run_id: str, record: Record) -> None:
        name = record["name"]
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/model/{record['file']}"
        version = self._client.create_model_version(name, source=source, run_id=run_id)
        self._client.set_registered_model_alias(name, record["alias"], version.version)

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        # a local store without it scatters files over whatever the working directory is; a server knows its own place
        local = (self.root / "mlartifacts" / self.experiment).as_uri() if self.uri.startswith("sqlite:") else None
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(self.experiment, artifact_location=local, tags=kind))

    @cached_property
    def _client(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(self.timeout_s))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # MLflow's own seven retries take minutes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                mlflow = importlib.import_module("mlflow")
            except ImportError as problem:
                raise ConfigError("tracking", expected="the package mlflow", found=str(problem), do="pip install mlflow") from problem
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """MLflow's, SQLAlchemy's and the network's errors as `Unreachable` or `Refused`."""
        self._client  # noqa: B018  a missing mlflow is a ConfigError, not silence
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except MlflowException as problem:
            kind = Refused if problem.error_code in REFUSALS else Unreachable
            raise kind(_first_line(problem)) from problem
        except (SQLAlchemyError, OSError) as problem:
            raise Unreachable(_first_line(problem)) from problem


def _first_line(problem: Exception) -> str:
    lines = str(problem).splitlines()
    return lines[0][:300] if lines else type(problem).__name__
