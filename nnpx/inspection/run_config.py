"""The experiment that a run of MLflow keeps: the file config.yaml among its artifacts."""

import os
import tempfile
from pathlib import Path
from typing import Any

from nnpx.config import compose
from nnpx.errors import ConfigError


def config_of_run(word: str, project: Path) -> str:
    """The text of a run's config.yaml.

    Args:
        word: the run's id, or the beginning of it.
        project: the folder that holds mlflow.db, unless tracking names another store.

    Raises:
        ConfigError: if there is no such run, several, or one that keeps no configuration.
    """
    expected = "a YAML file, overrides such as 'experiment=quickstart seed=1', or the id of a run"
    uri = (compose().get("tracking") or {}).get("uri") or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project / 'mlflow.db'}"
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise ConfigError(word, expected=expected, found="neither, and no mlflow.db in this folder", do="Correct it, or go to the project.")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    ids = _matching(client, word)
    if len(ids) != 1:
        do = "Give more of its digits." if ids else "Correct it; put overrides in quotes."
        found = f"{len(ids)} runs: {', '.join(ids[:5])}" if ids else "none of them"
        raise ConfigError(word, expected=expected, found=found, do=do)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(ids[0], "config.yaml", folder)).read_text(encoding="utf-8")
        except (OSError, MlflowException) as error:
            do = "Name the run of a training: its parent keeps the file."
            raise ConfigError(word, expected="a run that keeps config.yaml", found=f"none in run {ids[0]}", do=do) from error


def _matching(client: Any, word: str) -> list[str]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found, token = [], None
    while True:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        found += [run.info.run_id for run in page if run.info.run_id.startswith(word)]
        token = page.token
        if not token:
            return found
