"""Hands the jobs of a sweep to one of Hydra's launchers; whatever it is, a job reads what was composed and checked before."""

import copy
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from nnpx.configuration.launchers import RAY_TARGET
from nnpx.configuration.overrides import readable
from nnpx.errors import NNPXError
from nnpx.files import read_json
from nnpx.sweep.files import CONFIG, RESULT
from nnpx.sweep.grid import Grid, Job
from nnpx.sweep.progress import Progress
from nnpx.sweep.work import starts, work
from nnpx.trusted import trusted_packages

#: how often a job is started when the process that does it is killed
ATTEMPTS: Final = 3


@final
class Frozen(ConfigLoaderImpl):  # type: ignore[misc]  # Hydra has no types
    """Composes nothing for a job: gives each the configuration that lies in its folder.

    Args:
        folders: the folder of a job by its overrides.
    """

    def __init__(self, folders: Mapping[tuple[str, ...], Path]) -> None:
        super().__init__(create_config_search_path(None))
        self.folders = folders

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Hydra's part of the configuration, with the job's own experiment."""
        folder = self.folders[tuple(sweep_overrides)]
        config = copy.deepcopy(master_config)
        with open_dict(config):
            for key, value in OmegaConf.load(folder / CONFIG).items():
                config[key] = value
            config.hydra.overrides.task = list(sweep_overrides)
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(folder.parent), folder.name
        return config


def launch(grid: Grid, jobs: Sequence[Job], variables: Mapping[str, str]) -> None:
    """Runs the jobs, and those again whose process was killed; says of each how it ended.

    Args:
        grid: the sweep.
        jobs: those of its jobs that have not finished.
        variables: what the jobs find in their environment.
    """
    handed = {**variables, "NNPX_TRUSTED": ",".join(trusted_packages()), "DVC_ROOT": os.environ["DVC_ROOT"]}
    with Progress(grid, jobs) as progress:
        pending = list(jobs)
        while pending:
            before = {job.number: starts(job.folder) for job in pending}
            crash = _launch_once(grid, pending, handed, progress)
            pending = [job for job in pending if not read_json(job.folder / RESULT) and not job.failure]
            if crash is not None and all(starts(job.folder) == before[job.number] for job in pending):
                if pending:
                    raise crash  # not a job's process but the launcher itself
                return
            for job in [job for job in pending if starts(job.folder) >= ATTEMPTS]:
                progress.failed(job, f"its process was killed {ATTEMPTS} times (out of memory?)")
                pending.remove(job)


def _launch_once(grid: Grid, jobs: Sequence[Job], handed: Mapping[str, str], progress: Progress) -> Exception | None:
    """One call of the launcher; returns the error that stopped it, such as a killed process."""
    words = {tuple(job.overrides): job.folder for job in grid.jobs}
    context = HydraContext(config_loader=Frozen(words), callbacks=Callbacks())
    with readable():
        launcher = _launcher(grid.hydra, context, partial(work, handed))
    try:
        returned = launcher.launch([job.overrides for job in jobs], initial_job_idx=0)
    except NNPXError:
        raise
    except Exception as problem:  # noqa: BLE001  every launcher has errors of its own for a process that was killed
        return problem
    for job, one in zip(jobs, returned, strict=True):
        error = one._return_value
        if isinstance(error, Exception) and not read_json(job.folder / RESULT):
            progress.failed(job, f"{type(error).__name__}: {error}")  # it could not even write how it ended
    return None


def _launcher(config: DictConfig, context: HydraContext, task: Any) -> Launcher:
    from nnpx.sweep.ray_launcher import RayLauncher

    if config.hydra.launcher._target_ != RAY_TARGET:
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    settings = {key: value for key, value in config.hydra.launcher.items() if key != "_target_"}
    launcher = RayLauncher(**settings)
    launcher.setup(hydra_context=context, task_function=task, config=config)
    return launcher
