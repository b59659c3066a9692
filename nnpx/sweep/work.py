"""What a job of a sweep does, in whatever process its launcher runs it: reads its ticket, works, says how it ended."""

import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from nnpx.choices import CHOICES_VARIABLE
from nnpx.configuration import resolvers
from nnpx.files import read_json, write_json, write_text
from nnpx.processes import environment
from nnpx.sweep.files import LOCK, LOG, RESULT, STARTS, TICKET
from nnpx.sweep.grid import finished
from nnpx.upstream import link_files
from nnpx.verbs import run_verb


def work(handed: Mapping[str, str], config: DictConfig) -> None:
    """One job.

    Args:
        handed: environment variables of the process that started the sweep: not every launcher passes them on.
        config: the job's experiment, as it was checked.
    """
    from filelock import FileLock

    folder = Path(HydraConfig.get().runtime.output_dir)
    with FileLock(folder / LOCK):  # the process of an earlier start, whose sweep was killed, may still be at it
        ticket = read_json(folder / TICKET)
        if finished(folder, ticket["made_of"]):
            return
        write_text(folder / STARTS, str(starts(folder) + 1))
        started = time.perf_counter()
        told = {**handed, CHOICES_VARIABLE: json.dumps(ticket["choices"])} if ticket["choices"] else handed
        with (folder / LOG).open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log), environment(told):
            ended = _run(ticket, config, folder)
        write_json(folder / RESULT, {**ended, "made_of": ticket["made_of"], "wall_s": round(time.perf_counter() - started, 3)})


def starts(folder: Path) -> int:
    """How often the sweep has started this job."""
    path = folder / STARTS
    return int(path.read_text() or 0) if path.is_file() else 0


def _run(ticket: Mapping[str, Any], config: DictConfig, folder: Path) -> dict[str, str]:
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        multiprocessing.set_start_method("spawn", force=True)  # joblib's own method is unknown to the processes that a job starts
    resolvers.register()
    try:
        if ticket["shared"] is not None:
            _link_data(Path(ticket["shared"]) / "data", folder / "data")
        link_files(config, Path(ticket["project"]), folder)
        run_verb(ticket["verb"], config, folder, alone=ticket["shared"] is not None)
    except Exception as problem:  # noqa: BLE001  whatever it is: the other jobs go on, and the sweep says so
        traceback.print_exc(file=sys.stderr)
        kind = "" if hasattr(problem, "expected") else f"{type(problem).__name__}: "
        return {"status": "failed", "error": f"{kind}{problem}".strip()}
    return {"status": "finished"}


def _link_data(source: Path, link: Path) -> None:
    """The job reads the shared data and never writes them: it runs its own verb alone."""
    if link.is_symlink():
        link.unlink()
    link.symlink_to(source, target_is_directory=True)
