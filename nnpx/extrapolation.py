"""Which atoms a potential has no ground to judge, and why: element, feature and the range that it had in training.

Two questions, for which one member is enough: does a feature of the descriptor lie outside its range (which can be named), and is the
environment far from all of training in the space that the last layer reads?
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from nnpx.ensemble import Ensemble
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.uncertainty.mahalanobis import Mahalanobis
from nnpx.uncertainty.ranges import Ranges

#: features that a report names
NAMED: Final = 10


@final
@dataclass(frozen=True)
class Extrapolation:
    """A feature of an atom that lies outside the range of the training set."""

    structure: int  #: index of the structure
    atom: int  #: index within the structure
    element: str
    feature: str  #: its name, as the descriptor gives it
    value: float
    low: float  #: smallest value in training
    high: float  #: largest value in training

    def __str__(self) -> str:
        where = f"structure {self.structure}, atom {self.atom} ({self.element})"
        return f"{where}: {self.feature} is {self.value:.4g}, and was {self.low:.4g} to {self.high:.4g} in training"


def measure_ranges(ensemble: Ensemble, pieces: Iterable[AtomicGraph]) -> Ranges:
    """The ranges of the features of the first member over these structures."""
    member = ensemble.members[0]
    ranges = Ranges.empty(len(ensemble.numbers), member.descriptor.n_features)
    for piece in pieces:
        ranges = ranges.including(_described(ensemble, piece)[1], piece.species)
    return ranges


def measure_mahalanobis(ensemble: Ensemble, pieces: Iterable[AtomicGraph]) -> Mahalanobis:
    """Where the last layer of the first member sees the environments of these structures."""
    described = ((_last_layer_features(ensemble, piece, *_described(ensemble, piece)), piece.species) for piece in pieces)
    return Mahalanobis.of(described, len(ensemble.numbers))


def novelty(ensemble: Ensemble, pieces: Iterable[AtomicGraph]) -> dict[str, Float[Tensor, " atom"]]:
    """What is known of how foreign each atom is: `extrapolation` and `mahalanobis`; nothing from the file of an older potential.

    `extrapolation` is how far the most foreign feature lies beyond its range, in the widths by which features are divided (`Scales`), and 0
    within; `mahalanobis` the distance of `nnpx.uncertainty.mahalanobis`, about 1 on known ground.
    """
    width, ranges, mahalanobis = ensemble.members[0].feature_std, ensemble.ranges, ensemble.mahalanobis
    found: dict[str, list[Tensor]] = {}
    for piece in pieces:
        chemistry, geometry = _described(ensemble, piece)
        if ranges is not None:
            found.setdefault("extrapolation", []).append(ranges.excess(geometry, piece.species, width).amax(1))
        if mahalanobis is not None:
            signal = _last_layer_features(ensemble, piece, chemistry, geometry)
            found.setdefault("mahalanobis", []).append(mahalanobis.distance(signal, piece.species))
    return {name: torch.cat(parts).double().cpu() for name, parts in found.items()}


def extrapolations(ensemble: Ensemble, structures: list[Atoms]) -> list[Extrapolation]:
    """All features outside their ranges, the most foreign first.

    Args:
        ensemble: a potential, as `nnpx.load` gives it.
        structures: of its elements.

    Raises:
        SpeciesError: an element that the potential does not know.
        GeometryError: atoms coincide, or positions or cell make no sense.
    """
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="structures")
    if ensemble.ranges is None:
        return []
    graph = graph.cast(ensemble.dtype).to(ensemble.device)
    member, ranges, features = ensemble.members[0], ensemble.ranges, _described(ensemble, graph)[1]
    beyond = ranges.excess(features, graph.species, member.feature_std)
    atoms, columns = torch.nonzero(beyond, as_tuple=True)
    order = torch.argsort(beyond[atoms, columns], descending=True)
    first = torch.cumsum(graph.atoms_per_structure(), 0) - graph.atoms_per_structure()
    names = member.descriptor.names()
    return [
        Extrapolation(
            structure=(structure := int(graph.owner[atom])),
            atom=atom - int(first[structure]),
            element=chemical_symbols[ensemble.numbers[species := int(graph.species[atom])]],
            feature=names[column],
            value=float(features[atom, column]),
            low=float(ranges.low[species, column]),
            high=float(ranges.high[species, column]),
        )
        for atom, column in zip(atoms[order].tolist(), columns[order].tolist(), strict=True)
    ]


def worst_extrapolations(
    ensemble: Ensemble, structures: list[Atoms], known: Mapping[str, Float[np.ndarray, " atom"]], *, count: int = NAMED
) -> list[Extrapolation]:
    """The most foreign features of many structures, of which only those are described again that have the most foreign atoms.

    Args:
        ensemble: see `extrapolations`.
        structures: see `extrapolations`.
        known: what `novelty` says of their atoms; of the file of an older potential nothing.
        count: features that are named at most; they belong to no more atoms.
    """
    excess = known.get("extrapolation")
    if excess is None:
        return []
    owner = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    worst = np.argsort(-excess, kind="stable")[:count]
    chosen = np.unique(owner[worst[excess[worst] > 0]]).tolist()
    found = extrapolations(ensemble, [structures[k] for k in chosen])[:count] if chosen else []
    return [replace(one, structure=chosen[one.structure]) for one in found]


def _described(ensemble: Ensemble, graph: AtomicGraph) -> tuple[Float[Tensor, "atom channel"], Float[Tensor, "atom feature"]]:
    with torch.no_grad():
        return ensemble.members[0].describe(graph, graph.edges(), graph.species)


def _last_layer_features(
    ensemble: Ensemble, graph: AtomicGraph, chemistry: Float[Tensor, "atom channel"], geometry: Float[Tensor, "atom feature"]
) -> Float[Tensor, "atom width"]:
    with torch.no_grad():
        return ensemble.members[0].last_layer_features(chemistry, geometry, graph.species)
