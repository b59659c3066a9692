"""`hydra/launcher=ray`: the jobs of a sweep on Ray, on this machine or on a cluster. A job whose worker dies is started again by Ray.

The launcher that Hydra's makers publish asks for a cloudpickle older than the one that the rest of nnpx needs.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, final

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@final
class RayLauncher(Launcher):  # type: ignore[misc]  # Hydra has no types
    """Runs jobs as tasks of Ray; the arguments are those of `nnpx.configuration.launchers.RayConf`."""

    def __init__(self, *, address: str | None, n_workers: int | None, cpus_per_job: int, gpus_per_job: float, max_retries: int) -> None:
        self.address, self.n_workers = address, n_workers
        self.options: Mapping[str, Any] = {"num_cpus": cpus_per_job, "num_gpus": gpus_per_job, "max_retries": max_retries}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by whoever runs the sweep, before `launch`."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, as many at a time as there are processors; a job that Ray gives up is returned as failed."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        started = not ray.is_initialized()
        if started:
            here = {} if self.address else {"num_cpus": self.n_workers, "include_dashboard": False}
            ray.init(address=self.address, log_to_driver=False, configure_logging=False, **here)
        try:
            execute = ray.remote(**self.options)(_execute)
            shared = ray.put((self.context, self.config, self.task, Singleton.get_state()))
            tasks = [execute.remote(shared, initial_job_idx + k, list(words)) for k, words in enumerate(job_overrides)]
            return [_outcome(ray, task) for task in tasks]
        finally:
            if started:
                ray.shutdown()


def _outcome(ray: Any, task: Any) -> JobReturn:
    try:
        returned: JobReturn = ray.get(task)
    except ray.exceptions.RayError as problem:
        returned = JobReturn(status=JobStatus.FAILED)
        returned.return_value = RuntimeError(str(problem).splitlines()[0])
    return returned


def _execute(shared: tuple[HydraContext, DictConfig, TaskFunction, dict[type, Singleton]], number: int, words: list[str]) -> JobReturn:
    """One job in a worker of Ray, as Hydra's other launchers do it."""
    context, master, task, state = shared
    setup_globals()
    Singleton.set_state(state)
    config = context.config_loader.load_sweep_config(master, words)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = f"{config.hydra.job.name}_{number}", number
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=context, config=config, task_function=task, job_dir_key="hydra.sweep.dir", job_subdir_key="hydra.sweep.subdir"
    )
