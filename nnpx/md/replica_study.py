"""What replicas say at every temperature: how many were stopped, when, what stability time follows, and averages over the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from matplotlib.figure import Figure

from nnpx import units
from nnpx.md import replica_figures as figures
from nnpx.md.canonical import pooled_canonical_test
from nnpx.md.replica_course import ReplicaCourse, drifts, over_replicas
from nnpx.md.replicas import Fates, Replicas
from nnpx.md.stability import stability
from nnpx.tracking import Run
from nnpx.tracking.records import flat_numbers

#: a metric: a number, or None where there is nothing to measure
Metrics = dict[str, Any]


@dataclass(frozen=True)
class ReplicaStudy:
    """The fates of all replicas. Averages are over those that the watchdog did not stop, for what the others did means nothing."""

    name: str  #: of the run
    replicas: Replicas  #: how they were made
    fates: Fates  #: of all
    note: str = ""  #: why there is no reference: none is wanted

    def metrics(self) -> Metrics:
        """The numbers; what could not be measured is None."""
        fates = self.fates
        return {
            "replicas": len(fates.stopped),
            "stopped": int(self._stopped().sum()),
            "steps": fates.steps,
            "wall_s": fates.wall_s,
            "ns_per_day": fates.steps * self.replicas.timestep_fs * 1e-6 / (fates.wall_s / 86400.0),
            "by_temperature": {
                level: self._survival(chosen) | self._averages(chosen, kelvin) | {"alarms": self._alarms(chosen)}
                for (level, chosen), kelvin in zip(self._levels().items(), self.replicas.temperatures_K, strict=True)
            },
        }

    def pictures(self) -> dict[str, tuple[Figure, str]]:
        """The figures and their captions by name."""
        caption = f"{self.name}: share of the replicas that the watchdog has not stopped, and what a constant rate of alarms would leave."
        fates = {level: (self.fates.time_ps[chosen], self._stopped()[chosen]) for level, chosen in self._levels().items()}
        drawn = {f"{self.name}_survival": (figures.survival(fates), caption)}
        courses = {level: self.fates.course.of(chosen & ~self._stopped()) for level, chosen in self._levels().items()}
        courses = {level: course for level, course in courses.items() if course.kinetic.size and course.degrees_of_freedom}
        if courses:
            caption = f"{self.name}: temperature of the replicas that the watchdog did not stop, mean with its standard error"
            targets = dict(zip(self._levels(), self.replicas.temperatures_K, strict=True)) if self.replicas.has_bath else {}
            drawn[f"{self.name}_temperature"] = (
                figures.temperature(courses, targets),
                f"{caption}{'; dashed, the baths.' if targets else '.'}",
            )
        return drawn

    def log(self, run: Run) -> None:
        """Remember the numbers."""
        run.log_metrics(flat_numbers({"simulate": {self.name: self.metrics()}}), step=0)

    def _survival(self, chosen: Bool[np.ndarray, " replica"]) -> Metrics:
        """How many were stopped, and the stability time."""
        found = stability(self.fates.time_ps[chosen], self._stopped()[chosen])
        return {
            "replicas": found.replicas,
            "stopped": found.stopped,
            "stability_time_ps": _known(found.time_ps),
            "stability_time_error_ps": _known(found.error_ps),
            "stability_time_at_least_ps": found.at_least_ps,
        }

    def _averages(self, chosen: Bool[np.ndarray, " replica"], kelvin: float) -> Metrics:
        """Of those that were not stopped; nothing where all were, or the time is too short."""
        course = self.fates.course.of(chosen & ~self._stopped(), after=self.replicas.looks_before_averages)
        if not course.kinetic.size:
            return {}
        temperature, per_atom = over_replicas(course.temperature_K.mean(0)), 1.0 / course.n_atoms / units.meV
        found: Metrics = {
            "temperature_K": temperature.value,
            "temperature_error_K": temperature.error,
            "spread_meV_per_atom": float(course.energy_std.mean()) * per_atom,
        }
        found |= self._of_the_ensemble(course, kelvin)
        return {key: _known(value) for key, value in found.items()}

    def _of_the_ensemble(self, course: ReplicaCourse, kelvin: float) -> Metrics:
        """Whether baths make the ensemble canonical; without them, whether the energy is conserved."""
        if self.replicas.has_bath:
            canonical = pooled_canonical_test(course.kinetic, course.degrees_of_freedom, kelvin)
            return {"canonical_p_value": canonical.p_value, "canonical_samples": canonical.samples}
        energy = drifts(course)
        return {
            "drift_meV_per_atom_per_ps": energy.mean.value,
            "drift_error_meV_per_atom_per_ps": energy.mean.error,
            "largest_drift_meV_per_atom_per_ps": energy.largest.value,
            "largest_drift_error_meV_per_atom_per_ps": energy.largest.error,
            "sigma_total_meV_per_atom": energy.fluctuation,
        }

    def _alarms(self, chosen: Bool[np.ndarray, " replica"]) -> Metrics:
        """When and why, by the names of those that were stopped."""
        fates, names = self.fates, list(self.replicas.by_name)
        stopped = np.flatnonzero(chosen & self._stopped())
        return {names[k]: {"time_ps": float(fates.time_ps[k]), "alarm": fates.stopped[k]} for k in stopped}

    def _levels(self) -> dict[str, Bool[np.ndarray, " replica"]]:
        """Which replicas have each temperature, by what that is called."""
        level = np.repeat(np.arange(len(self.replicas.levels)), self.replicas.n_replicas)
        return {name: level == k for k, name in enumerate(self.replicas.levels)}

    def _stopped(self) -> Bool[np.ndarray, " replica"]:
        return np.array([bool(words) for words in self.fates.stopped])


def _known(value: float | int) -> float | int | None:
    """NaN is no JSON."""
    return value if np.isfinite(value) else None
