"""A store in memory that counts what arrives, and can die at any call."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from nnpx.tracking import MLflow


def tracker(workspace: Path, uri: str | None = None, flush_every_s: float = 0.0, retry_every_s: float = 60.0, timeout_s: int = 1) -> MLflow:
    return MLflow(
        uri=uri, experiment="physics", flush_every_s=flush_every_s, retry_every_s=retry_every_s, timeout_s=timeout_s, workspace=workspace
    )


class FakeClient:
    """MLflow's client as far as a run needs it. Unlike MLflow it keeps a metric that arrives twice twice.

    `fails(call number, name of the call, whether it has had its effect)` raises where the store or the process is to die.
    """

    def __init__(self) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.metrics: dict[str, list[tuple[str, float, int, int]]] = {}
        self.versions: list[SimpleNamespace] = []
        self.aliases: dict[str, str] = {}
        self.calls = 0
        self.fails: Callable[[int, str, bool], None] = lambda number, name, done: None

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name.startswith("_") or not callable(value) or name == "fails":
            return value

        def call(*arguments: Any, **words: Any) -> Any:
            self.calls += 1
            number = self.calls
            self.fails(number, name, False)
            result = value(*arguments, **words)
            self.fails(number, name, True)
            return result

        return call

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(experiment_id="1")

    def search_experiments(self, **words: Any) -> list[SimpleNamespace]:
        return [SimpleNamespace(experiment_id="1")]

    def create_run(self, experiment: str, *, start_time: int, tags: dict[str, str], run_name: str) -> SimpleNamespace:
        run_id = f"{len(self.runs):032x}"
        info = SimpleNamespace(
            run_id=run_id,
            run_name=run_name,
            status="RUNNING",
            lifecycle_stage="active",
            artifact_uri="mem:/" + run_id,
            start_time=start_time,
        )
        self.runs[run_id] = SimpleNamespace(info=info, data=SimpleNamespace(params={}, tags=dict(tags)))
        self.metrics[run_id] = []
        return self.runs[run_id]

    def search_runs(self, experiments: list[str], query: str, **words: Any) -> list[SimpleNamespace]:
        key, _, value = query.removeprefix("tags.").partition(" = ")
        return [run for run in self.runs.values() if run.data.tags.get(key) == value.strip("'")]

    def get_run(self, run_id: str) -> SimpleNamespace:
        if run_id not in self.runs:
            raise MlflowException(f"no run {run_id}", error_code=RESOURCE_DOES_NOT_EXIST)
        return self.runs[run_id]

    def update_run(self, run_id: str, status: str) -> None:
        self.get_run(run_id).info.status = status

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        self.get_run(run_id).data.params.update({param.key: param.value for param in params})
        self.metrics[run_id] += [(metric.key, metric.value, metric.timestamp, metric.step) for metric in metrics]

    def get_metric_history(self, run_id: str, key: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(key=k, value=v, timestamp=t, step=s) for k, v, t, s in self.metrics[run_id] if k == key]

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.get_run(run_id).data.tags[key] = value

    def log_text(self, run_id: str, text: str, name: str) -> None:
        self.get_run(run_id).data.tags[f"file {name}"] = text

    def log_artifact(self, run_id: str, path: str, folder: str | None) -> None:
        self.get_run(run_id).data.tags[f"file {folder or '.'}/{Path(path).name}"] = Path(path).read_text()

    def set_terminated(self, run_id: str, status: str, time: int) -> None:
        self.get_run(run_id).info.status, self.get_run(run_id).info.end_time = status, time

    def search_registered_models(self, *query: str, **words: Any) -> list[str]:
        return ["there"] if self.versions else []

    def create_registered_model(self, name: str) -> None:
        pass

    def search_model_versions(self, query: str) -> list[SimpleNamespace]:
        return [version for version in self.versions if query == f"run_id = '{version.run_id}'"]

    def create_model_version(self, name: str, *, source: str, run_id: str) -> SimpleNamespace:
        self.versions.append(SimpleNamespace(name=name, source=source, run_id=run_id, version=str(len(self.versions) + 1)))
        return self.versions[-1]

    def get_registered_model(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(aliases=dict(self.aliases))

    def get_model_version(self, name: str, number: str) -> SimpleNamespace:
        return self.versions[int(number) - 1]

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        self.aliases[alias] = number


def silent(number: int, name: str, done: bool) -> None:
    """The store does not answer."""
    raise ConnectionError("nobody is there")
