"""Structures as points, so that it can be told how much they resemble each other."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from nnpx.acquisition import Pool
from nnpx.ensemble import Ensemble
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential

#: atoms that are described together
ATOMS_AT_A_TIME: Final = 256


def pool(ensemble: Ensemble, candidates: Sequence[Atoms], known: Sequence[Atoms]) -> Pool:
    """Candidates and labelled structures as an acquisition sees them.

    Args:
        ensemble: the potential; its first member describes.
        candidates: structures that may be labelled.
        known: structures that are.
    """
    member = ensemble.members[0]
    last_layer, descriptor = _points(member, candidates)
    last_layer_known, descriptor_known = _points(member, known)
    return Pool(last_layer, last_layer_known, descriptor, descriptor_known)


def _points(
    member: Potential, structures: Sequence[Atoms]
) -> tuple[Float[np.ndarray, "structure weight"], Float[np.ndarray, "structure feature"]]:
    """What the last layer reads, summed by element, and the mean standardised descriptor by element, of every structure."""
    graph = graph_from_list(structures, numbers=member.numbers, cutoff=member.cutoff_radius, where="structures of the walkers")
    graph = graph.cast(member.feature_mean.dtype)
    both = [_piece(member, graph.select(some)) for some in graph.batches(ATOMS_AT_A_TIME)]
    signals, features = zip(*both, strict=True)
    return np.concatenate(signals), np.concatenate(features)


def _piece(member: Potential, graph: AtomicGraph) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        chemistry, geometry = member.describe(graph, graph.edges(), graph.species)
        standardised = member.standardised(geometry, graph.species)
        signal = member.last_layer_features(chemistry, geometry, graph.species)
    count = _by_element(torch.ones_like(signal[:, :1]), graph, member).clamp_min(1)
    means = _by_element(standardised, graph, member) / count
    return _by_element(signal, graph, member).flatten(1).double().numpy(), means.flatten(1).double().numpy()


def _by_element(values: Float[Tensor, "atom feature"], graph: AtomicGraph, member: Potential) -> Float[Tensor, "structure species feature"]:
    """The sums over the atoms of each element of each structure."""
    n_species = len(member.numbers)
    sums = values.new_zeros(graph.n_structures * n_species, values.shape[1])
    return sums.index_add(0, graph.owner * n_species + graph.species, values).reshape(graph.n_structures, n_species, -1)
