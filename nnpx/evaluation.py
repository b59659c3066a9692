"""Labels and predictions side by side, and the calibration of a spread by what they differ by."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Int

from nnpx.ensemble import Ensemble
from nnpx.errors import DataError
from nnpx.files import md5, whole
from nnpx.graph import AtomicGraph, Prediction, in_quadrature
from nnpx.uncertainty import Calibration, Uncertainty
from nnpx.uncertainty.quality import FEWEST

#: work in one batch, counted in ordered pairs of neighbours of one atom; bounds the memory, changes no number
WORK_PER_BATCH: Final = 400_000


def check_same_data(trained: Mapping[str, str], folder: Path, *, made_by: str) -> None:
    """Refuses to measure on data that were divided anew: what is tested now may have been trained on.

    Args:
        trained: checksums of train, valid and test on the card of the potential.
        folder: the prepared data.
        made_by: the command that made the potential.

    Raises:
        DataError: if any of the three files is another one.
    """
    files = {part: folder / f"{part}.extxyz" for part in ("train", "valid", "test")}
    other = [part for part, path in files.items() if not path.is_file() or md5(path) != trained.get(part)]
    if other:
        expected, found = "the structures that the potential was trained with", f"others in {', '.join(other)}"
        raise DataError("data/prepared", expected=expected, found=found, do=f"Run `{made_by}` again.")


@final
@dataclass(frozen=True)
class Deviations:
    """Errors of a quantity beside what the potential says of them; what it does not say is NaN."""

    error: Float[np.ndarray, "*sample"]  #: prediction minus label
    spread: Float[np.ndarray, "*sample"]  #: epistemic: what more data would teach
    noise: Float[np.ndarray, "*sample"]  #: aleatoric: what no data would

    @property
    def total(self) -> Float[np.ndarray, "*sample"]:
        """√(spread² + noise²) of those that exist."""
        nothing = np.isnan(self.spread) & np.isnan(self.noise)
        return np.where(nothing, np.nan, np.hypot(np.nan_to_num(self.spread), np.nan_to_num(self.noise)))


@final
@dataclass(frozen=True)
class Comparison:
    """Labels and predictions of a set of structures, side by side. What does not exist is NaN."""

    numbers: Int[np.ndarray, " atom"]  #: atomic number
    owner: Int[np.ndarray, " atom"]  #: structure of each atom
    groups: list[str]  #: the group of each structure; empty text where it has none
    energy_label: Float[np.ndarray, " structure"]  #: eV
    energy: Float[np.ndarray, " structure"]  #: eV
    energy_std: Float[np.ndarray, " structure"]  #: spread of the members, calibrated where the potential is, eV
    forces_label: Float[np.ndarray, "atom 3"]  #: eV/Å
    forces: Float[np.ndarray, "atom 3"]  #: eV/Å
    forces_std: Float[np.ndarray, "atom 3"]  #: spread of the members, calibrated where the potential is, eV/Å
    stress_label: Float[np.ndarray, "structure 3 3"]  #: eV/Å³
    stress: Float[np.ndarray, "structure 3 3"]  #: eV/Å³
    energy_noise: Float[np.ndarray, " structure"]  #: standard deviation of the labels around the truth, predicted and given, eV
    forces_noise: Float[np.ndarray, "atom 3"]  #: standard deviation of the labels around the truth, eV/Å
    novelty: Mapping[str, Float[np.ndarray, " atom"]]  #: what is known of how foreign each atom is: see `nnpx.extrapolation.novelty`

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name, for a file; what is known of how foreign atoms are begins with `novelty_`."""
        known = {name: np.asarray(value) for name, value in vars(self).items() if name != "novelty"}
        return {**known, **{f"novelty_{name}": values for name, values in self.novelty.items()}}

    @property
    def n_atoms(self) -> Int[np.ndarray, " structure"]:
        """Atoms of each structure."""
        return np.bincount(self.owner, minlength=len(self.groups))

    def force_errors(self) -> Float[np.ndarray, " atom"]:
        """|ΔF| of each atom, eV/Å."""
        return np.asarray(np.linalg.norm(self.forces - self.forces_label, axis=1))

    def force_spreads(self) -> Float[np.ndarray, " atom"]:
        """Spread of the members' forces on each atom, √Σσ², eV/Å."""
        return np.asarray(np.linalg.norm(self.forces_std, axis=1))

    def strangeness(self) -> dict[str, Float[np.ndarray, " structure"]]:
        """Of each structure the largest spread of the members' forces on an atom (eV/Å), and the most foreign atom by every measure."""
        known = {"spread": self.force_spreads(), **self.novelty}
        known = {name: values for name, values in known.items() if not np.isnan(values).any()}
        largest = {name: np.zeros(len(self.groups)) for name in known}
        for name, values in known.items():
            np.maximum.at(largest[name], self.owner, values)
        return largest

    def deviations(self) -> dict[str, Deviations]:
        """Errors, spreads and noise: of the energy per atom (eV) and of the force components (eV/Å)."""
        n_atoms = self.n_atoms
        energy = (self.energy - self.energy_label, self.energy_std, self.energy_noise)
        return {
            "energy_per_atom": Deviations(*(values / n_atoms for values in energy)),
            "forces": Deviations(self.forces - self.forces_label, self.forces_std, self.forces_noise),
        }


def partition(graph: AtomicGraph) -> list[Int[torch.Tensor, " chosen"]]:
    """Which structures to evaluate together, in order, so that the memory is bounded."""
    neighbors = torch.bincount(graph.center, minlength=graph.n_atoms)
    work = torch.zeros(graph.n_structures, dtype=torch.long).index_add(0, graph.owner, neighbors**2 + 1)
    piece = (torch.cumsum(work, 0) - work) // WORK_PER_BATCH
    return list(torch.arange(graph.n_structures).split(torch.unique_consecutive(piece, return_counts=True)[1].tolist()))


def batches(graph: AtomicGraph, ensemble: Ensemble) -> Iterator[AtomicGraph]:
    """A graph on the processor in pieces, in the precision of the ensemble and where it is."""
    for structures in partition(graph):
        yield graph.select(structures).cast(ensemble.dtype).to(ensemble.device)


def predict(potential: Callable[[AtomicGraph], Prediction], pieces: Iterable[AtomicGraph]) -> Prediction:
    """The predictions for all pieces, joined; nothing of the computation stays in memory."""
    return Prediction.joined([potential(piece).detached().cpu() for piece in pieces])


def save_arrays(path: Path, compared: Mapping[str, Comparison]) -> None:
    """Labels and predictions of every part in one file: `test_energy` and so on."""
    with whole(path) as file:
        np.savez(file, **{f"{part}_{key}": array for part, one in compared.items() for key, array in one.arrays().items()})  # type: ignore[arg-type]  # it takes any names


def compare(
    graph: AtomicGraph,
    prediction: Prediction,
    numbers: Sequence[int],
    groups: Sequence[str],
    novelty: Mapping[str, Float[torch.Tensor, " atom"]] | None = None,
) -> Comparison:
    """Labels of `graph` beside `prediction`.

    Args:
        graph: structures with labels.
        prediction: for the same structures.
        numbers: the potential's elements.
        groups: one name per structure.
        novelty: how foreign each atom is, where that is of interest.

    Raises:
        DataError: the prediction or the groups belong to another set of structures, or a prediction is not finite.
    """
    if not len(groups) == graph.n_structures == len(prediction.energy):
        found = f"{len(prediction.energy)} energies, {len(groups)} groups"
        raise DataError("comparison", expected=f"{graph.n_structures} structures", found=found, do="Predict the same structures.")
    _refuse_infinite(graph, prediction)
    return Comparison(
        numbers=np.asarray(numbers)[graph.species.cpu().numpy()],
        owner=graph.owner.cpu().numpy(),
        groups=list(groups),
        energy_label=_array(graph.energy),
        energy=_array(prediction.energy),
        energy_std=_array(prediction.energy_std),
        forces_label=_array(graph.forces),
        forces=_array(prediction.forces),
        forces_std=_array(prediction.forces_std),
        stress_label=_array(graph.stress),
        stress=_array(prediction.stress),
        energy_noise=_array(in_quadrature(prediction.energy_noise, graph.energy_noise.to(prediction.energy_noise))),
        forces_noise=_array(prediction.forces_noise),
        novelty={name: _array(values) for name, values in (novelty or {}).items()},
    )


def calibrate(comparison: Comparison, uncertainty: Uncertainty) -> Calibration:
    """Curves from the errors of an ensemble that has none yet, on structures that it was not trained on; too few errors give none."""
    deviations = comparison.deviations()
    energy, forces = deviations["energy_per_atom"], deviations["forces"]
    of_atoms = np.sqrt((forces.spread**2).mean(axis=1, keepdims=True))
    curves = {}
    for name, one in {"energy": energy, "forces": replace(forces, spread=np.broadcast_to(of_atoms, forces.error.shape))}.items():
        good = np.isfinite(one.error) & np.isfinite(one.spread) & (one.spread > 0)
        if good.sum() >= FEWEST:
            curves[name] = uncertainty.curve(one.error[good], one.spread[good], np.nan_to_num(one.noise)[good])
    return Calibration({name: curve for name, curve in curves.items() if curve is not None})


def _refuse_infinite(graph: AtomicGraph, prediction: Prediction) -> None:
    """A NaN label is skipped; a NaN prediction would be hidden by the same rule."""
    broken = ~torch.isfinite(prediction.energy)
    broken = broken.index_add(0, graph.owner.cpu(), ~torch.isfinite(prediction.forces).all(1))
    if broken.any():
        structures = torch.nonzero(broken)[:, 0].tolist()
        found = f"NaN or infinity for structure {structures[0]} and {len(structures) - 1} others"
        raise DataError("prediction", expected="finite energies and forces", found=found, do="Train again with a smaller learning rate.")


def _array(values: torch.Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu().numpy(), dtype=float)
