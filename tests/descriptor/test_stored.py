"""A stored descriptor gives what the live one gives."""

import pytest
import torch
from small import NUMBERS, carbons, ethanols, graph_of, potential_for, stored

from nnpx.assembly import build_parts
from nnpx.config import compose
from nnpx.descriptor import stored as storage
from nnpx.descriptor.stored import jacobian_by_slots
from nnpx.graph import AtomicGraph


@pytest.fixture(params=["molecules", "crystals"])
def graph(request: pytest.FixtureRequest) -> AtomicGraph:
    return graph_of(ethanols(3) if request.param == "molecules" else carbons(2))


def test_derivatives_agree_with_forward_differentiation_of_the_features(graph):
    potential = potential_for(graph)
    edges, chemistry = graph.edges(), potential.embedding(graph.species)
    torch.testing.assert_close(
        potential.descriptor.jacobian(edges, chemistry), jacobian_by_slots(potential.descriptor, edges, chemistry), rtol=0, atol=1e-12
    )


def test_energy_forces_and_stress_are_those_of_the_live_descriptor(graph):
    potential = potential_for(graph).eval()
    live, kept = potential(graph), potential(stored(graph, potential))
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(getattr(kept, name), getattr(live, name), rtol=0, atol=1e-11, equal_nan=True)


def test_gradients_of_a_force_loss_are_those_of_the_live_descriptor(graph):
    potential = potential_for(graph).train()
    weights = list(potential.parameters())
    gradients = []
    for seen in (graph, stored(graph, potential)):
        prediction = potential(seen)
        loss = prediction.forces.square().sum() + prediction.energy.square().sum()
        gradients.append(torch.autograd.grad(loss, weights))
    for kept, live in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, live, rtol=1e-10, atol=1e-10)


def test_selecting_structures_keeps_their_stored_features(graph):
    potential = potential_for(graph).eval()
    kept = stored(graph, potential)
    order = torch.tensor([1, 0])
    whole, chosen = potential(kept), potential(kept.select(order))
    torch.testing.assert_close(chosen.energy, whole.energy[order])


def test_derivatives_gathered_into_one_block_say_what_they_say_in_their_place(graph, monkeypatch):
    potential = potential_for(graph).train()
    chosen = stored(graph, potential).select(torch.tensor([1, 0]))
    seen = []
    for layout in (storage.in_place, storage.gathered):
        monkeypatch.setattr(storage, "in_place", layout)
        prediction = potential(chosen)
        gradient = torch.autograd.grad(
            prediction.forces.square().sum(), list(potential.parameters()), allow_unused=True, materialize_grads=True
        )
        seen.append([prediction.energy, prediction.forces, *gradient])
    for apart, together in zip(*seen, strict=True):
        torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("descriptor", ["acsf", "acsf_wide"])
def test_what_is_stored_of_a_few_centres_at_a_time_is_that_of_whole_structures(graph, descriptor, monkeypatch):
    parts = build_parts(compose([f"descriptor={descriptor}"]), numbers=NUMBERS, seed=0)
    chemistry = parts.embedding(graph.species).detach()
    whole = storage.store(graph, parts.descriptor, chemistry, torch.float64, derivatives=True)
    monkeypatch.setattr(storage, "ATOMS_AT_A_TIME", 3)
    apart = storage.store(graph, parts.descriptor, chemistry, torch.float64, derivatives=True)
    torch.testing.assert_close(apart.features, whole.features, rtol=0, atol=1e-12)
    torch.testing.assert_close(apart.jacobian, whole.jacobian, rtol=0, atol=1e-12)
