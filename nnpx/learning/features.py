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
from nnpx.errors import ConfigError
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.network import Network
from nnpx.potential import Potential

#: atoms whose gradients are computed together
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


def last_layer(network: Network) -> Tensor:
    """The weights that the energy is linear in, after everything that is not.

    Raises:
        ConfigError: a network whose last layer has another name than those of nnpx.
    """
    weights = dict(network.named_parameters())
    leaving = [name for name in weights if name.split(".")[-1] == "leave"] or [name for name in weights if name.split(".")[0] == "weights"]
    if not leaving:
        found, do = f"{type(network).__name__}, which has none", "Choose acquisition=farthest_point or random."
        raise ConfigError("network", expected="a network whose last weights are called `weights` or `leave`", found=found, do=do)
    return weights[leaving[-1]]


def _points(
    member: Potential, structures: Sequence[Atoms]
) -> tuple[Float[np.ndarray, "structure weight"], Float[np.ndarray, "structure feature"]]:
    """∂V/∂w_last, and the mean standardised descriptor by element, of every structure."""
    graph = graph_from_list(structures, numbers=member.numbers, cutoff=member.cutoff_radius, where="structures of the walkers")
    graph = graph.cast(member.feature_mean.dtype)
    both = [_piece(member, graph.select(some)) for some in graph.batches(ATOMS_AT_A_TIME)]
    gradients, features = zip(*both, strict=True)
    return np.concatenate(gradients), np.concatenate(features)


def _piece(member: Potential, graph: AtomicGraph) -> tuple[np.ndarray, np.ndarray]:
    weight = last_layer(member.network).requires_grad_(True)
    with torch.no_grad():
        chemistry, geometry = member.describe(graph, graph.edges(), graph.species)
    with torch.enable_grad():
        atomic = member.learned(chemistry, geometry, graph.species)[0].mean(1)
        energy = torch.zeros(graph.n_structures, dtype=atomic.dtype).index_add(0, graph.owner, atomic)
        (gradient,) = torch.autograd.grad(energy, weight, torch.eye(graph.n_structures, dtype=energy.dtype), is_grads_batched=True)
    weight.requires_grad_(False)
    standardised = (geometry - member.feature_mean[graph.species]) / member.feature_std[graph.species]
    n_species = len(member.numbers)
    place = graph.owner * n_species + graph.species
    total = torch.zeros(graph.n_structures * n_species, standardised.shape[1], dtype=standardised.dtype).index_add(0, place, standardised)
    count = torch.bincount(place, minlength=len(total)).clamp_min(1)
    means = (total / count[:, None]).reshape(graph.n_structures, -1)
    return gradient.flatten(1).double().numpy(), means.double().numpy()
