"""Members that tests of ensembles are made of."""

from typing import Any

from ase import Atoms
from small import CONFIG, NUMBERS, potential_for

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.configuration.schema import plain
from nnpx.graph import AtomicGraph
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential
from nnpx.statistics import measure_scales

N_HEADS = 5


def heads_of(potential, graph, config):
    """As many potentials, each with one of the last layers."""
    single = {key: value for key, value in config.items() if key != "ensemble"}
    alone = []
    for head in range(N_HEADS):
        member, weights = potential_for(graph, config=single), potential.state_dict()
        for name, value in member.state_dict().items():
            shared = weights[name]
            if shared.shape != value.shape:
                (axis,) = [k for k, (one, many) in enumerate(zip(value.shape, shared.shape, strict=True)) if one != many]
                weights[name] = shared.select(axis, head).unsqueeze(axis)
        member.load_state_dict(weights)
        alone.append(member.eval())
    return alone


def member(structures: list[Atoms], option: str, seed: int, *changed: str) -> Potential:
    """A potential of random weights with the descriptor of an experiment."""
    whole = plain(compose([f"experiment={option}", *changed]))
    config: dict[str, Any] = {**CONFIG, **{name: whole[name] for name in ("cutoff", "radial", "descriptor", "species_embedding")}}
    parts = build_parts(config, numbers=NUMBERS, seed=seed)
    graph = seen_by(structures, parts.cutoff_radius)
    described = graph.with_(features=parts.descriptor(graph.edges(), parts.embedding(graph.species)).detach())
    return parts.potential(measure_scales(described, numbers=NUMBERS, isolated_atoms={}, feature_floor=1e-3)).double().eval()


def seen_by(structures: list[Atoms], cutoff: float) -> AtomicGraph:
    return graph_from_list(structures, numbers=NUMBERS, cutoff=cutoff, where="test")
