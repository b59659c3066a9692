"""Many replicas at once: all walkers advance by one evaluation of the potential per step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float

from nnpx import units
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recordings
from nnpx.errors import ConfigError, GeometryError
from nnpx.graph import Prediction
from nnpx.md.walker import Walker
from nnpx.skin import SkinList


@dataclass(frozen=True)
class Course:
    """What the active walkers went through, at every sampled step."""

    walkers: list[int]  #: which walkers, in the order of the columns
    step: list[int]  #: steps of this call after which the samples were taken
    potential: Float[np.ndarray, "sample walker"]  #: V, eV
    kinetic: Float[np.ndarray, "sample walker"]  #: eV
    energy_std: Float[np.ndarray, "sample walker"]  #: the members' spread of V, eV; NaN where there is one member
    forces_std_max: Float[np.ndarray, "sample walker"]  #: largest |σ_F| of an atom, eV/Å; NaN unless asked for


@final
class BatchedDynamics:
    """Langevin dynamics of many replicas, of one structure or several; without friction, Newton's equations.

        p ← p + F Δt/2;   r ← r + p Δt/2m;   p ← c p + √((1 − c²) m k T) ξ;   r ← r + p Δt/2m;   p ← p + F Δt/2

    with c = exp(−γ Δt): BAOAB (Leimkuhler and Matthews 2013, doi:10.1063/1.4802990), which for γ = 0 is velocity Verlet. In float64.
    F = −∂(V − τ σ_V)/∂r: with a bias τ the members' disagreement lowers the energy, and walkers go where they disagree (van der Oord et
    al. 2023, doi:10.1038/s41524-023-01104-6). The bias is never larger than τ times the spread of the forces; both spreads are those of
    the members, before any calibration.

    Every walker draws from its own generator and has its own list of neighbours, so it does not notice which others run beside it, apart
    from rounding: the order in which matrix products are summed depends on their size, so the forces of one structure change in their
    last digits with the company it is evaluated in (less than 1e-10 after 20 steps is tested). In chaotic motion such a difference grows.
    With the same company and as many threads a trajectory is, on a processor, the same to the last bit, also over a pause and over a
    restart from files.

    Args:
        ensemble: the potential; evaluated in its own precision and on its own device; recorded, so it must not change.
        walkers: the replicas; `advance` changes them.
        timestep_fs: Δt.
        friction_per_fs: γ; 0 for Newton's equations.
        record_after: steps that fewer than all walkers make together before they are recorded anew, which pays within a hundred steps and
            is lost where the next one stops before; 0 where runs that were killed are to go on with the same bits.
        skin: how much farther than the cutoff neighbours are listed, Å. It changes how often lists are made, not a bit of the results.
        bias: τ; other than 0 it takes the forces of all members in every step.

    Raises:
        ConfigError: the skin is no length, or a bias with a single potential, which agrees with itself.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        walkers: Sequence[Walker],
        *,
        timestep_fs: float,
        friction_per_fs: float,
        skin: float,
        record_after: int = 0,
        bias: float = 0.0,
    ) -> None:
        if bias > 0.0 and ensemble.n_members < 2:
            raise ConfigError("bias", expected="members that can disagree", found="a single potential", do="Set it to 0.")
        self.ensemble, self.bias = ensemble, bias
        self.walkers = list(walkers)
        self.timestep = timestep_fs * units.fs
        self.memory = float(np.exp(-friction_per_fs * timestep_fs))
        self._recordings, self._of_fewer = Recordings(ensemble, after=0), Recordings(ensemble, after=record_after)
        self._list = SkinList(
            numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, skin=skin, dtype=ensemble.dtype, device=ensemble.device
        )

    def advance(self, steps: int, active: Sequence[int] | None = None, *, stride: int = 1, spread: bool = False) -> Course:
        """Move the active walkers; the others are not evaluated and stay as they are.

        Args:
            steps: how many; every active walker makes as many.
            active: indices of the walkers that move; None for all.
            stride: steps between samples; with steps < stride nothing is sampled.
            spread: whether samples include the spread of the forces, for a backward pass per member and sample.

        Raises:
            GeometryError: the potential refuses the structure of a walker, which the error names. All walkers are as they were before the
                call, so the others can go on without it.
        """
        chosen = list(range(len(self.walkers)) if active is None else active)
        before = [self.walkers[k].random.bit_generator.state for k in chosen]
        try:
            self._compute_missing([k for k in chosen if self.walkers[k].forces is None])
            return self._move(chosen, steps, stride=stride, spread=spread)
        except GeometryError:
            for k, state in zip(chosen, before, strict=True):
                self.walkers[k].random.bit_generator.state = state
            raise

    def _move(self, chosen: list[int], steps: int, *, stride: int, spread: bool) -> Course:
        walkers = [self.walkers[k] for k in chosen]
        first = np.cumsum([0, *(len(walker.atoms) for walker in walkers)])
        positions, momenta, forces = (np.concatenate(rows) for rows in zip(*map(_state, walkers), strict=True))
        masses = np.concatenate([walker.atoms.get_masses() for walker in walkers])[:, None]
        temperature = np.repeat([walker.temperature_K for walker in walkers], np.diff(first))[:, None]
        noise = np.sqrt((1.0 - self.memory**2) * masses * temperature * units.K)
        half, samples, prediction = 0.5 * self.timestep, [], None
        for step in range(1, steps + 1):
            momenta = momenta + half * forces
            positions = positions + half * momenta / masses
            if self.memory < 1.0:
                kicks = [walker.random.standard_normal((len(walker.atoms), 3)) for walker in walkers]
                momenta = self.memory * momenta + noise * np.concatenate(kicks)
            positions = positions + half * momenta / masses
            sampled = step % stride == 0
            prediction = self._evaluate(chosen, positions, spread=spread and sampled)
            forces = prediction.forces.numpy()
            momenta = momenta + half * forces
            if sampled:
                samples.append(_sample(prediction, momenta, masses, first[:-1], spread=spread))
        if prediction is not None:
            self._keep(chosen, np.split(positions, first[1:-1]), np.split(momenta, first[1:-1]), prediction, steps)
        columns = np.array(samples).reshape(len(samples), 4, len(chosen)).transpose(1, 0, 2)
        return Course(chosen, list(range(stride, steps + 1, stride)), *columns)

    def _compute_missing(self, chosen: list[int]) -> None:
        """Forces of walkers that have none yet."""
        if chosen:
            atoms = [self.walkers[k].atoms for k in chosen]
            positions = [one.get_positions() for one in atoms]
            prediction = self._evaluate(chosen, np.concatenate(positions), spread=False)
            self._keep(chosen, positions, [one.get_momenta() for one in atoms], prediction, 0)

    def _evaluate(self, chosen: list[int], positions: Float[np.ndarray, "atom 3"], *, spread: bool) -> Prediction:
        structures = {f"walker {k}": self.walkers[k].atoms for k in chosen}
        recordings = self._recordings if len(chosen) == len(self.walkers) else self._of_fewer
        spread = spread or self.bias > 0.0
        found = recordings.predict(list(structures.values()), positions, spread=spread)
        if found is None:
            found = recordings.evaluate(*self._list.graph(structures, positions), spread=spread)
        tensors = {name: tensor.detach().to("cpu", torch.float64) for name, tensor in vars(found).items()}
        if self.bias > 0.0:
            tensors["forces"] = tensors["forces"] + self.bias * tensors["energy_std_slope"]
        return Prediction(**tensors)

    def _keep(self, chosen: list[int], positions: list[np.ndarray], momenta: list[np.ndarray], prediction: Prediction, steps: int) -> None:
        """Write what was found into the walkers."""
        begin = 0
        for column, (k, place, momentum) in enumerate(zip(chosen, positions, momenta, strict=True)):
            walker = self.walkers[k]
            walker.atoms.positions = place
            walker.atoms.set_momenta(momentum)
            walker.energy, walker.energy_std = float(prediction.energy[column]), float(prediction.energy_std[column])
            walker.forces = prediction.forces[begin : begin + len(place)].numpy().copy()
            walker.step += steps
            begin += len(place)


def _state(walker: Walker) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return walker.atoms.get_positions(), walker.atoms.get_momenta(), np.asarray(walker.forces)


def _sample(
    prediction: Prediction,
    momenta: Float[np.ndarray, "atom 3"],
    masses: Float[np.ndarray, "atom 1"],
    first: np.ndarray,
    *,
    spread: bool,
) -> list[np.ndarray]:
    """V, E_kin, σ_V and the largest |σ_F| of every walker."""
    kinetic = np.add.reduceat((momenta**2 / (2.0 * masses)).sum(1), first)
    largest = np.full(len(first), np.nan)
    if spread:
        largest = np.maximum.reduceat(np.linalg.norm(prediction.forces_std.numpy(), axis=1), first)
    return [prediction.energy.numpy(), kinetic, prediction.energy_std.numpy(), largest]
