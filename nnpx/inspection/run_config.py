"""The experiment that a run of MLflow keeps: the file config.yaml among its artifacts."""

import tempfile
from functools import partial
from pathlib import Path

from nnpx.errors import ConfigError
from nnpx.lineage import CONFIG
from nnpx.runs import answer, find_run, project_tracker


def config_of_run(word: str, project: Path) -> str:
    """The text of a run's config.yaml.

    Args:
        word: what `nnpx.runs.find_run` knows a run by.
        project: the folder whose runs are meant.

    Raises:
        ConfigError: if there is no such run, several, or one that keeps no configuration; or if the store does not answer.
    """
    expected = "a YAML file, overrides such as 'experiment=quickstart seed=1', or the id of a run"
    tracker = project_tracker(project)
    scheme = "sqlite:///"
    if tracker.store.uri.startswith(scheme) and not Path(tracker.store.uri.removeprefix(scheme)).is_file():
        raise ConfigError(word, expected=expected, found="neither, and no runs in this folder", do="Correct it, or go to the project.")
    run = find_run(tracker, word, otherwise=expected)
    client, run_id = tracker.store.client, run.info.run_id
    if CONFIG not in [file.path for file in answer(tracker, partial(client.list_artifacts, run_id))]:
        do = "Name the run of a training: its parent keeps the file."
        raise ConfigError(word, expected=f"a run that keeps {CONFIG}", found=f"none in run {run_id}", do=do)
    with tempfile.TemporaryDirectory() as folder:
        return Path(answer(tracker, partial(client.download_artifacts, run_id, CONFIG, folder))).read_text(encoding="utf-8")
