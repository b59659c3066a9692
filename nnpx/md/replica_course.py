"""What replicas went through, and what independent replicas say together."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from nnpx import units
from nnpx.md import momenta
from nnpx.md.observables import Estimate, slope, standard_error


@dataclass(frozen=True)
class ReplicaCourse:
    """Replicas of one structure at every look; NaN where one had been stopped before."""

    time_ps: Float[np.ndarray, " look"]  #: since the start
    potential: Float[np.ndarray, "look replica"]  #: V, eV
    kinetic: Float[np.ndarray, "look replica"]  #: eV
    energy_std: Float[np.ndarray, "look replica"]  #: the members' spread of V, eV; NaN where there is one member
    n_atoms: int  #: of the structure
    degrees_of_freedom: int  #: f in T = 2 E_kin / (f k)

    @property
    def total(self) -> Float[np.ndarray, "look replica"]:
        """V + E_kin, eV."""
        return np.asarray(self.potential + self.kinetic)

    @property
    def temperature_K(self) -> Float[np.ndarray, "look replica"]:
        """Temperature of each replica at each look."""
        return np.asarray(self.kinetic * momenta.temperature_K(1.0, self.degrees_of_freedom))

    def of(self, chosen: Bool[np.ndarray, " replica"], *, after: int = 0) -> "ReplicaCourse":
        """The same of some replicas, without the first looks."""
        series = {name: getattr(self, name)[after:, chosen] for name in ("potential", "kinetic", "energy_std")}
        return replace(self, time_ps=self.time_ps[after:], **series)


@dataclass(frozen=True)
class Drifts:
    """How well replicas without baths conserve their total energies."""

    mean: Estimate  #: over the replicas, meV per atom and ps
    largest: Estimate  #: of the replica that drifts most, with the error of its own slope, meV per atom and ps
    fluctuation: float  #: standard deviation of the energy around the fits, meV per atom


def over_replicas(values: Float[np.ndarray, " replica"]) -> Estimate:
    """Mean with the standard error from the scatter of replicas, which are independent; of one replica it is not known."""
    return Estimate(float(values.mean()), float(standard_error(values)))


def drifts(course: ReplicaCourse) -> Drifts:
    """A line through the total energy of every replica.

    In one replica the energy wanders with the share that fast vibrations hold, by (ωΔt)²/8 of it, which looks like a drift; in many
    replicas that averages out.
    """
    per_atom = course.total / course.n_atoms / units.meV
    slopes = [slope(course.time_ps, series) for series in per_atom.T]
    values = np.array([one.value for one in slopes])
    around = per_atom - course.time_ps[:, None] * values
    return Drifts(over_replicas(values), max(slopes, key=lambda one: abs(one.value)), float(np.sqrt(around.var(0).mean())))
