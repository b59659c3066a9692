"""The machines of a Ray cluster."""

import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, final

from annotated_types import Gt

from nnpx.data.jobs import Batch, Engine
from nnpx.errors import ConfigError
from nnpx.executor import Executor, Task
from nnpx.processes import ONE_THREAD, ends_after
from nnpx.trusted import ENVIRONMENT


@final
class Ray(Executor):
    """Tasks of Ray, as many at once as the cluster has processors for; nnpx and the engine must be installed there.

    The time that a task is allowed begins when Ray runs it. A task whose worker dies is not tried again.

    Args:
        address: of the cluster, such as `auto` or `ray://head:10001`; None starts Ray on this machine.
        cpus_per_task: processors that Ray reserves for each.
    """

    def __init__(self, *, address: str | None, cpus_per_task: Annotated[float, Gt(0)]) -> None:
        self.address, self.cpus_per_task = address, cpus_per_task

    def results(self, engine: Engine, tasks: Sequence[Task], folder: Path) -> Generator[tuple[str, Batch], None, None]:
        """Key and batch of every task, as they come.

        Raises:
            ConfigError: Ray is not installed, or the cluster not found.
        """
        if not tasks:
            return
        ray = self._ray()
        try:
            execute = ray.remote(num_cpus=self.cpus_per_task, max_retries=0)(_execute)
            shared = ray.put(engine)
            pending = {execute.remote(task, shared): task for task in tasks}
            while pending:
                for one in ray.wait(list(pending), num_returns=1)[0]:
                    task = pending.pop(one)
                    yield task.key, _outcome(ray, one, task)
        finally:
            ray.shutdown()

    def _ray(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            do = 'Run: pip install "nnpx[ray]"'
            raise ConfigError("executor=ray", expected="the package ray", found="that it is not installed", do=do) from error
        modules = os.pathsep.join(path for path in sys.path if path)
        words = {**ONE_THREAD, ENVIRONMENT: os.environ.get(ENVIRONMENT, ""), "PYTHONPATH": modules}
        here: dict[str, Any] = {} if self.address else {"include_dashboard": False}
        try:
            ray.init(address=self.address, log_to_driver=False, configure_logging=False, runtime_env={"env_vars": words}, **here)
        except (ConnectionError, ValueError, RuntimeError) as error:
            do = "Start it (ray start --head), correct executor.address, or make it null to start Ray on this machine."
            raise ConfigError("executor.address", expected="a cluster of Ray", found=str(error), do=do) from error
        return ray


def _execute(task: Task, engine: Engine) -> Batch:
    """In a worker of Ray, which does other tasks afterwards."""
    with ends_after(task.allowed_s):
        return task.done(engine)


def _outcome(ray: Any, one: Any, task: Task) -> Batch:
    try:
        found: Batch = ray.get(one)
    except ray.exceptions.RayError as problem:
        said = next(iter(str(problem).splitlines()), type(problem).__name__)
        found = task.failed(f"the worker died, or took more than {task.allowed_s:g} s: {said}")
    return found
