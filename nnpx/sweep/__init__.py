"""Sweeps: a verb on every combination of some choices, ending in one answer.

    nnpx train -m descriptor=acsf,acsf_narrow network=per_species,mlp seed=0,1 hydra/launcher=joblib

`grid` composes and checks all jobs and writes each one's configuration into its folder; from then on nothing that happens to conf/ can
reach them. `shared` prepares each distinct set of data once. `launch` hands the jobs to one of Hydra's launchers, `work` is what a job does
in whatever process that is, `progress` tells what has finished, and `answer` compares. A job that has finished is not repeated.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nnpx.sweep.shell import show

__all__ = ["show", "sweep"]


def sweep(verb: str, overrides: Sequence[str], config_dir: Path | None) -> int:
    """Runs a verb on every combination of the overrides, after all of them have been checked; returns the exit code.

    Raises:
        ConfigError: with the errors of all jobs, before the first one starts; or where the project cannot be written, or the same sweep is
            running already.
    """
    from nnpx.sweep.answer import answer, opened_run
    from nnpx.sweep.grid import plan
    from nnpx.sweep.launch import launch
    from nnpx.sweep.shared import share_data
    from nnpx.tracking import PARENT_VARIABLE

    os.environ.setdefault("DVC_ROOT", str(Path.cwd()))  # all jobs log to the project's one store
    grid = plan(verb, overrides, config_dir)
    with grid.claimed():
        sys.stdout.write(f"sweep: {len(grid.jobs)} jobs in {grid.shown(grid.folder)}\n")
        share_data(grid)
        todo = grid.write()
        with opened_run(grid) as run:
            launch(grid, todo, {PARENT_VARIABLE: run.id} if run.id else {})
            failed = answer(grid, run)
            if failed:
                run.finish("FAILED")
    return 1 if failed else 0
