"""What replicas say: how many were stopped, when, and what stability time follows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nnpx.md import figures
from nnpx.md.replicas import Fates, Replicas
from nnpx.md.stability import Stability, stability
from nnpx.tracking import Run


@dataclass(frozen=True)
class ReplicaStudy:
    """The fates of all replicas."""

    name: str  #: of the run
    replicas: Replicas  #: how they were made
    fates: Fates  #: of all
    note: str = ""  #: why there is no reference: none is wanted

    def stability(self) -> Stability:
        """Stability time with its error."""
        return stability(self.fates.time_ps, self._stopped())

    def metrics(self) -> dict[str, Any]:
        """The numbers; what could not be measured is None."""
        found, fates = self.stability(), self.fates
        alarms = {
            str(k): {"time_ps": float(time), "alarm": words}
            for k, (time, words) in enumerate(zip(fates.time_ps, fates.stopped, strict=True))
            if words
        }
        return {
            "replicas": found.replicas,
            "stopped": found.stopped,
            "stability_time_ps": found.time_ps if found.stopped else None,
            "stability_time_error_ps": found.error_ps if found.stopped else None,
            "stability_time_at_least_ps": found.at_least_ps,
            "steps": fates.steps,
            "wall_s": fates.wall_s,
            "ns_per_day": fates.steps * self.replicas.timestep_fs * 1e-6 / (fates.wall_s / 86400.0),
            "alarms": alarms,
        }

    def pictures(self) -> dict[str, tuple[Figure, str]]:
        """The figure and its caption by name."""
        caption = f"{self.name}: share of the replicas that the watchdog has not stopped, and what a constant rate of alarms would leave."
        drawn = figures.survival(self.fates.time_ps, self._stopped(), self.stability())
        return {f"{self.name}_survival": (drawn, caption)}

    def log(self, run: Run) -> None:
        """Remember the numbers."""
        numbers = {key: value for key, value in self.metrics().items() if isinstance(value, float | int)}
        run.log_metrics({f"simulate/{self.name}/{key}": value for key, value in numbers.items()}, step=0)

    def _stopped(self) -> np.ndarray:
        return np.array([bool(words) for words in self.fates.stopped])
