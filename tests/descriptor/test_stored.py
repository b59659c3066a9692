"""A stored descriptor gives what the live one gives."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from small import NUMBERS, as_on_a_gpu, carbons, ethanols, graph_of, potential_for, stored

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.descriptor import stored as storage
from nnpx.descriptor.pulls import pull_at_pairs
from nnpx.descriptor.stored import jacobian_by_slots, pairs_of
from nnpx.graph import AtomicGraph
from nnpx.speed.compiled import without_loops


@pytest.fixture(params=["molecules", "crystals"])
def graph(request: pytest.FixtureRequest) -> AtomicGraph:
    return graph_of(ethanols(3) if request.param == "molecules" else carbons(2))


#: in loops a descriptor reads its functions from tables
WAYS = pytest.mark.parametrize(("way", "within"), [(nullcontext, 1e-8), (without_loops, 1e-11)])


@WAYS
def test_derivatives_agree_with_forward_differentiation_of_the_features(graph, way, within):
    potential = potential_for(graph)
    edges, chemistry = graph.edges(), potential.embedding(graph.species)
    expected = jacobian_by_slots(potential.descriptor, edges, chemistry)
    with way():
        torch.testing.assert_close(potential.descriptor.jacobian(edges, chemistry), expected, rtol=0, atol=within)


@WAYS
def test_energy_forces_and_stress_are_those_of_the_live_descriptor(graph, way, within):
    potential = potential_for(graph).eval()
    with way():
        live, kept = potential(graph), potential(stored(graph, potential))
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(getattr(kept, name), getattr(live, name), rtol=0, atol=within, equal_nan=True)
    assert not kept.forces.requires_grad


@WAYS
def test_gradients_of_a_force_loss_are_those_of_the_live_descriptor(graph, way, within):
    potential = potential_for(graph).train()
    weights = list(potential.parameters())
    gradients = []
    with way():
        predictions = [potential(seen) for seen in (graph, stored(graph, potential))]
    for prediction in predictions:
        loss = prediction.forces.square().sum() + prediction.energy.square().sum()
        gradients.append(torch.autograd.grad(loss, weights))
    for kept, live in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, live, rtol=10 * within, atol=10 * within)


def test_selecting_structures_keeps_their_stored_features(graph):
    potential = potential_for(graph).eval()
    kept = stored(graph, potential)
    order = torch.tensor([1, 0])
    whole, chosen = potential(kept), potential(kept.select(order))
    torch.testing.assert_close(chosen.energy, whole.energy[order])


def test_a_few_operations_on_a_copy_of_the_derivatives_say_what_they_say_pair_by_pair(graph, monkeypatch):
    potential = potential_for(graph).train()
    chosen = stored(graph, potential).select(torch.tensor([1, 0]))
    seen = []
    for on_a_gpu in (False, True):
        if on_a_gpu:
            as_on_a_gpu(monkeypatch)
        prediction = potential(chosen)
        gradient = torch.autograd.grad(
            prediction.forces.square().sum(), list(potential.parameters()), allow_unused=True, materialize_grads=True
        )
        seen.append([prediction.energy, prediction.forces, *gradient])
    for apart, together in zip(*seen, strict=True):
        torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_pulls_are_linear_in_the_slopes_of_several_energies(graph, monkeypatch, on_a_gpu):
    if on_a_gpu:
        as_on_a_gpu(monkeypatch)
    pairs = pairs_of(stored(graph, potential_for(graph)))
    few = replace(pairs, center=pairs.center[:9], place=pairs.place[:9], kind=pairs.kind[:9])
    slopes = torch.randn(pairs.n_atoms, 2, pairs.n_features, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: pull_at_pairs(one, few), slopes, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda one: pull_at_pairs(one, few).square(), slopes, fast_mode=True)


def test_what_no_neighbor_of_an_element_changes_is_not_stored():
    graph = graph_of(ethanols(2))
    kept = stored(graph, potential_for(graph))
    assert kept.felt.shape[1] < 0.6 * kept.features.shape[1]
    potential = potential_for(graph)
    derivatives = potential.descriptor.jacobian(graph.edges(), potential.embedding(graph.species).detach())
    pairs, whole = pairs_of(kept), torch.zeros_like(derivatives)
    whole.scatter_(2, pairs.felt[pairs.kind][:, None].expand(-1, 3, -1), pairs.jacobian[pairs.place])
    torch.testing.assert_close(whole, derivatives, rtol=0, atol=1e-14)


def test_what_later_structures_feel_is_stored_as_well(monkeypatch):
    monkeypatch.setattr(storage, "ATOMS_AT_A_TIME", 3)  # so that there is carbon alone at first
    graph = graph_of([*carbons(2), *ethanols(3)])
    potential = potential_for(graph).eval()
    with without_loops():
        live, kept = potential(graph), potential(stored(graph, potential))
    torch.testing.assert_close(kept.forces, live.forces, rtol=0, atol=1e-11)


def test_an_element_may_be_felt_by_fewer_features_than_others():
    graph = graph_of([molecule("HCOOH")[[0, 1, 2, 3]]])  # without the second hydrogen, so that no pair of hydrogens is felt
    assert graph.species.bincount().tolist() == [1, 1, 2]
    potential = potential_for(graph).eval()
    with without_loops():
        live, kept = potential(graph), potential(stored(graph, potential))
    torch.testing.assert_close(kept.forces, live.forces, rtol=0, atol=1e-11)


def test_structures_without_pairs_have_no_forces():
    graph = graph_of([Atoms("H"), Atoms("O", positions=[[1.0, 2.0, 3.0]])])
    potential = potential_for(graph_of(ethanols(3))).eval()
    assert not potential(stored(graph, potential)).forces.any()


def test_it_stops_where_it_takes_more_memory_than_it_may(graph):
    potential = potential_for(graph)
    kept, chemistry = stored(graph, potential), potential.embedding(graph.species).detach()
    n_bytes = kept.features.nbytes + kept.jacobian.nbytes
    again = storage.store(graph, potential.descriptor, chemistry, torch.float64, derivatives=True, most_bytes=n_bytes)
    torch.testing.assert_close(again.jacobian, kept.jacobian)
    with pytest.raises(storage.TooLargeError):
        storage.store(graph, potential.descriptor, chemistry, torch.float64, derivatives=True, most_bytes=n_bytes - 1)


def test_forces_from_features_without_derivatives_are_refused(graph):
    potential = potential_for(graph)
    chemistry = potential.embedding(graph.species).detach()
    described = storage.store(graph, potential.descriptor, chemistry, torch.float64, derivatives=False)
    with pytest.raises(ValueError, match="without their derivatives"):
        potential(described)


@pytest.mark.parametrize("descriptor", ["acsf", "acsf_wide"])
def test_what_is_stored_of_a_few_centres_at_a_time_is_that_of_whole_structures(graph, descriptor, monkeypatch):
    parts = build_parts(compose([f"descriptor={descriptor}"]), numbers=NUMBERS, seed=0)
    chemistry = parts.embedding(graph.species).detach()
    whole = storage.store(graph, parts.descriptor, chemistry, torch.float64, derivatives=True)
    monkeypatch.setattr(storage, "ATOMS_AT_A_TIME", 3)
    apart = storage.store(graph, parts.descriptor, chemistry, torch.float64, derivatives=True)
    torch.testing.assert_close(apart.features, whole.features, rtol=0, atol=1e-12)
    each = torch.eye(parts.descriptor.n_features, dtype=torch.float64).expand(graph.n_atoms, -1, -1)  # a potential that is one feature
    pulls = [pull_at_pairs(each, pairs_of(kept)) for kept in (apart, whole)]
    torch.testing.assert_close(*pulls, rtol=0, atol=1e-12)
