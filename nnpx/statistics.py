"""What is measured on the training set once and then frozen: reference energies, the scale of energies, the width of features."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.graph import AtomicGraph
from nnpx.potential import Scales
from nnpx.reduce import sum_atoms_to_structures

#: widths below this fraction of the features' size are rounding errors of single precision
ROUNDING: Final = 1e-6


def measure_scales(graph: AtomicGraph, *, numbers: Sequence[int], isolated_atoms: Mapping[int, float], feature_floor: float) -> Scales:
    """Scales of a potential from its training set.

    Reference energies E0 are the energies of isolated atoms where every element has one; else they are fitted to the compositions by least
    squares in float64 (of minimal norm: where the stoichiometry never varies, only the sum over a structure is determined).

    Args:
        graph: the training set with stored features, the prior taken from its labels.
        numbers: atomic numbers in the order of the species index.
        isolated_atoms: energy of an isolated atom (eV) by atomic number; may be empty.
        feature_floor: smallest width that a feature is divided by, as a fraction of `typical_width`; those of an element without atoms are
            divided by the typical width itself.
    """
    n_species = len(numbers)
    composition = sum_atoms_to_structures(torch.nn.functional.one_hot(graph.species, n_species).double(), graph.owner, graph.n_structures)
    labelled = torch.isfinite(graph.energy)
    target = graph.energy[labelled]
    composition = composition[labelled]
    if all(number in isolated_atoms for number in numbers):
        reference_energies = torch.tensor([isolated_atoms[number] for number in numbers], dtype=torch.float64)
    else:
        reference_energies = least_squares(composition, target)
    residual = target - composition @ reference_energies
    shift = float(residual.sum() / composition.sum()) if len(target) else 0.0
    mean, std = feature_statistics(graph, n_species)
    width = typical_width(mean, std)
    absent = torch.bincount(graph.species, minlength=n_species)[:, None] == 0
    return Scales(
        feature_mean=mean,
        feature_std=torch.where(absent, width, std.clamp_min(feature_floor * width)),
        energy_scale=energy_scale(graph, residual - shift * composition.sum(1)),
        energy_shift=shift,
        reference_energies=reference_energies,
    )


def least_squares(composition: Float[Tensor, "structure species"], energy: Float[Tensor, " structure"]) -> Float[Tensor, " species"]:
    """The reference energies (eV) that explain the energies best, of minimal norm where several do."""
    solution: Tensor = torch.linalg.lstsq(composition, energy[:, None], driver="gelsd").solution
    return solution[:, 0]


def energy_scale(graph: AtomicGraph, residual: Float[Tensor, " structure"]) -> float:
    """Root mean square force component times 1 Å, or the spread of the energies per square root of the size where that is larger (eV).

    The second counts where there are no forces, or where symmetry makes them vanish.
    """
    forces = graph.forces[torch.isfinite(graph.forces)].double()
    per_atom = residual / graph.atoms_per_structure()[torch.isfinite(graph.energy)].sqrt()
    scales = [float(values.square().mean().sqrt()) for values in (forces, per_atom) if len(values)]
    return max([scale for scale in scales if scale > 0], default=1.0)


def feature_statistics(graph: AtomicGraph, n_species: int) -> tuple[Float[Tensor, "species feature"], Float[Tensor, "species feature"]]:
    """Mean and standard deviation of every feature over the environments of each element; zero for an element without atoms."""
    features = graph.features.double()
    mean = torch.zeros(n_species, features.shape[1], dtype=torch.float64)
    std = torch.zeros_like(mean)
    for k in range(n_species):
        own = features[graph.species == k]
        if len(own):
            mean[k], std[k] = own.mean(0), own.std(0, unbiased=False)
    return mean, std


def typical_width(mean: Float[Tensor, "species feature"], std: Float[Tensor, "species feature"]) -> float:
    """Root mean square of the widths of all features that vary by more than rounding.

    Where none does it is the size of the features, and 1 where they are all zero. Features in another unit have a width in that unit.
    """
    size = float(mean.square().mean().sqrt())
    varying = std[std > ROUNDING * size]
    return float(varying.square().mean().sqrt()) if len(varying) else size or 1.0
