"""Every option computes where its input is: nothing that an evaluation or an update needs stays behind on the processor."""

import pytest
import torch
from ase import Atoms
from every_option import USUAL, options, potential_of
from pretended_gpu import PretendedGpu, move_graph, move_module
from small import carbons, ethanols, graph_of

from nnpx.descriptor.stored import is_fixed, store
from nnpx.ensemble import Ensemble
from nnpx.extrapolation import extrapolations, measure_mahalanobis, novelty
from nnpx.learning.uncertainty import compared, of_structures
from nnpx.md.batched import BatchedDynamics
from nnpx.md.walker import start_walker
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential
from nnpx.uncertainty import Calibration, Curve
from nnpx.uncertainty.ranges import Ranges


def graph_for(potential: Potential, structures: list):
    return graph_from_list(structures, numbers=potential.numbers, cutoff=potential.cutoff_radius, where="test")


@pytest.mark.parametrize(
    ("noun", "option"),
    [(noun, option) for noun in ("descriptor", "network", "species_embedding", "prior", "noise") for option in options(noun)],
)
def test_an_update_needs_nothing_from_the_processor(noun, option):
    potential = potential_of({**USUAL, noun: option}, ethanols(2))
    graphs = [graph_for(potential, ethanols(2)), graph_for(potential, carbons(2))]
    if is_fixed(potential.embedding, potential.descriptor):
        with torch.no_grad():
            chemistry = potential.embedding(graphs[0].species)
        graphs.append(store(graphs[0], potential.descriptor, chemistry, torch.float64, derivatives=True))
    move_module(potential).train()
    with PretendedGpu():
        for graph in map(move_graph, graphs):
            prediction = potential(graph.select(torch.tensor([1, 0], device="cuda")))
            loss = prediction.forces.square().sum() + prediction.energy.square().sum()
            weights = [weight for weight in potential.parameters() if weight.requires_grad]
            assert all(slope is None or slope.is_cuda for slope in torch.autograd.grad(loss, weights, allow_unused=True))


def test_messages_between_images_of_an_atom_are_the_same_there():
    """In a cell shorter than the cutoff: each pair is found as its neighbour sees it, by numbers that a device computes."""
    narrow = Atoms("CH", [[0.0, 0.0, 0.0], [1.0, 4.0, 4.0]], cell=[2.0, 10.0, 10.0], pbc=True)
    potential = potential_of({**USUAL, "descriptor": "moments_messages"}, ethanols(2)).eval()
    graph = graph_for(potential, [*ethanols(1), narrow])
    here = potential(graph)
    move_module(potential)
    with PretendedGpu():
        there = potential(move_graph(graph))
        for found, expected in ((there.energy, here.energy), (there.forces, here.forces)):
            torch.testing.assert_close(found.detach().cpu(), expected.detach())


def test_a_calibrated_ensemble_knows_its_ranges_there():
    members, graph = [potential_of(USUAL, ethanols(2)).eval() for _ in range(2)], graph_of(ethanols(2))
    n_features = members[0].descriptor.n_features
    ranges = Ranges.empty(3, n_features).including(torch.ones(3, n_features, dtype=torch.float64), torch.arange(3))
    mahalanobis = measure_mahalanobis(Ensemble(members), [graph])
    with PretendedGpu():
        ensemble = Ensemble([move_module(one) for one in members], Calibration({"energy": Curve.factor(2.0)}), ranges, mahalanobis)
        there = move_graph(graph)
        assert ensemble(there, spread=False).energy_std.is_cuda
        far = novelty(ensemble, [there])
        assert set(far) == {"extrapolation", "mahalanobis"}
        assert not any(one.is_cuda for one in far.values())
        assert extrapolations(ensemble, ethanols(1))
        spreads, forces = of_structures(ensemble, graph)
        assert (len(spreads), forces.shape) == (2, (18, 3))
        assert compared(ensemble, ethanols(1)).forces.shape == (9, 3)
        engine = BatchedDynamics(
            ensemble, [start_walker(ethanols(1)[0], temperature_K=300.0, seed=1)], timestep_fs=0.5, friction_per_fs=0.0, skin=0.5
        )
        engine.advance(2, [0])


def test_what_stays_behind_is_noticed():
    potential = move_module(potential_of(USUAL, ethanols(2)))
    potential.feature_mean = potential.feature_mean.kept
    with PretendedGpu(), pytest.raises(RuntimeError, match="mixes devices"):
        potential.eval()(move_graph(graph_of(ethanols(2))))
