"""What runs the jobs of a sweep: the launchers that Hydra knows by its plugins, and our own for Ray. Imports nothing heavy."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

#: launchers that an optional dependency of nnpx brings, and that dependency
EXTRAS: Final = {"joblib": "sweep", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
#: the class behind `hydra/launcher=ray`
RAY_TARGET: Final = "nnpx.sweep.ray_launcher.RayLauncher"


@dataclass
class RayConf:
    """The numbers of Ray's launcher; `hydra.launcher.n_workers=8` changes one."""

    _target_: str = RAY_TARGET
    #: where a running cluster is found, such as "auto"; None starts Ray on this machine
    address: str | None = None
    #: processors that Ray may use on this machine; None: all
    n_workers: int | None = None
    #: processors that a job takes
    cpus_per_job: int = 1
    #: graphics processors that a job takes; may be a fraction
    gpus_per_job: float = 0.0
    #: how often a job is started again after its worker died
    max_retries: int = 3


def register() -> None:
    """Makes the launchers that are installed known to Hydra in this process."""
    Plugins.instance()
    if find_spec("ray") is not None:
        ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayConf, provider="nnpx")
