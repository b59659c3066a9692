"""What a descriptor takes of the memory is known before it is evaluated, and refused where there is less."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from descriptor.environments import parts_of
from small import CUTOFF, NUMBERS, carbons, graph_of, potential_for, stored
from torch.profiler import ProfilerActivity, profile

from nnpx import memory
from nnpx.descriptor import listed_triplets
from nnpx.descriptor.stored import store
from nnpx.ensemble import ATOMS_AT_A_TIME, Ensemble
from nnpx.errors import OutOfMemoryError
from nnpx.neighbors import graph_from_atoms
from nnpx.speed.compiled import without_loops

#: radii within the short cutoff of small systems
ANGULAR = {name: ["descriptor.angular_radius=4"] for name in ("acsf", "acsf_wide")}
#: descriptors with what makes them large, and whether their derivatives are stored
LARGE = {
    "loops over triplets": (["descriptor=acsf", "descriptor.angular_radius=8"], False),
    "moments of symmetry functions": (["descriptor=acsf_wide", "descriptor.angular_radius=8"], False),
    "a smooth density": (["descriptor=soap"], False),
    "Gaussian moments": (["descriptor=gaussian_moments"], False),
    "loops over neighbours": (["descriptor=moments"], False),
}


def alloy() -> Atoms:
    """Copper and gold; each atom has 178 neighbours within 8 Å."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.numbers[::3] = 79
    atoms.rattle(0.05)
    return atoms


def most_at_once(evaluate) -> int:
    """Bytes that torch has given out at the same time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        evaluate()
    asked = [(event.start_ns(), event.nbytes()) for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    taken = most = 0
    for _, n_bytes in sorted(asked, key=lambda one: one[0]):
        taken += n_bytes
        most = max(most, taken)
    return most


@pytest.mark.parametrize(("words", "derivatives"), LARGE.values(), ids=LARGE)
def test_the_estimate_is_right_within_a_factor_and_rather_too_small(words, derivatives):
    parts, atoms = parts_of([*words, "cutoff.radius=8", "prior=zero"], [29, 79]), alloy()
    graph = graph_from_atoms(atoms, numbers=[29, 79], cutoff=8.0, where="test")
    edges, chemistry, descriptor = graph.edges(), parts.embedding(graph.species).detach(), parts.descriptor

    def evaluate():
        if derivatives:
            descriptor.jacobian(edges, chemistry)
        else:
            features, pull = descriptor.linearised(edges, chemistry)
            pull(torch.ones(1, *features.shape, dtype=features.dtype))

    estimate = 8 * len(atoms) * descriptor.memory_per_atom(len(edges.center) / len(atoms), derivatives=derivatives)
    assert 0.7 < most_at_once(evaluate) / estimate < 4.0


def test_few_functions_take_the_memory_of_all_that_they_are_chosen_from_for_their_derivatives():
    words, atoms = ["descriptor=acsf", "descriptor.angular_radius=6", "cutoff.radius=6", "prior=zero"], alloy()
    few = [name for name in parts_of(words, [29, 79]).descriptor.names() if name.startswith("G4")][::37]
    parts = parts_of([*words, f"descriptor.functions={few}"], [29, 79])
    edges = graph_from_atoms(atoms, numbers=[29, 79], cutoff=6.0, where="test").edges()
    chemistry = parts.embedding((torch.from_numpy(atoms.numbers) == 79).long()).detach()
    estimate = 8 * len(atoms) * parts.descriptor.memory_per_atom(len(edges.center) / len(atoms), derivatives=True)
    assert 0.7 < most_at_once(lambda: parts.descriptor.jacobian(edges, chemistry)) / estimate < 4.0


@pytest.mark.parametrize("derivatives", [False, True])
def test_the_estimate_of_triplets_is_right_within_a_factor_and_rather_too_small(derivatives, monkeypatch):
    """Where they are listed, as without loops; with 178 neighbours of each atom there are 15,753."""
    parts, atoms = parts_of(["descriptor=acsf", "descriptor.angular_radius=8", "cutoff.radius=8", "prior=zero"], [29, 79]), alloy()
    graph = graph_from_atoms(atoms, numbers=[29, 79], cutoff=8.0, where="test")
    edges, chemistry, estimates = graph.edges(), parts.embedding(graph.species).detach(), []
    monkeypatch.setattr(listed_triplets, "refuse_beyond_memory", lambda n_bytes, *where, **said: estimates.append(n_bytes))
    with without_loops():
        taken = most_at_once(lambda: (parts.descriptor.jacobian if derivatives else parts.descriptor)(edges, chemistry))
    assert 0.7 < taken / estimates[0] < 4.0


def test_triplets_that_do_not_fit_are_refused_before_they_are_listed(monkeypatch):
    graph, parts = graph_of(carbons(10)), built("acsf")
    edges, chemistry = graph.edges(), parts.embedding(graph.species).detach()
    take_all(monkeypatch)
    monkeypatch.setattr(type(parts.descriptor), "weighted_triplets", lambda *words: pytest.fail("they were listed"))
    for compute in (parts.descriptor, parts.descriptor.jacobian):
        with (
            without_loops(),
            pytest.raises(OutOfMemoryError, match=r"descriptor\.angular_radius: expected triplets that fit .* \d+ triplets of 40 atoms"),
        ):
            compute(edges, chemistry)


def built(descriptor: str):
    """A potential's parts for small systems."""
    return parts_of([f"descriptor={descriptor}", f"cutoff.radius={CUTOFF}", "prior=zero", *ANGULAR.get(descriptor, [])], NUMBERS)


def take_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves 10 kB."""
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0.0)
    monkeypatch.setattr(memory, "free_memory", lambda: 1e4)


@pytest.mark.parametrize("descriptor", ["acsf", "acsf_wide", "soap", "gaussian_moments", "moments"])
def test_features_that_do_not_fit_are_refused_wherever_they_are_computed(descriptor, monkeypatch):
    """In what is stored, in an update of a training and in an evaluation; and before anything is computed."""
    graph, parts = graph_of(carbons(10)), built(descriptor)
    potential, chemistry = parts.unscaled_potential(), parts.embedding(graph.species).detach()
    for way in ("forward", "trainable", "linearised", "jacobian"):
        monkeypatch.setattr(type(parts.descriptor), way, lambda *words, **named: pytest.fail("it was computed"))
    computations = [
        lambda: store(graph, parts.descriptor, chemistry, torch.float64, derivatives=True),
        lambda: potential.train()(graph),
        lambda: Ensemble([potential.eval()])(graph),
    ]
    take_all(monkeypatch)
    told = r"descriptor: expected features that fit .* 40 atoms with \d+ neighbours each.* Lower cutoff\.radius"
    for compute in computations:
        with pytest.raises(OutOfMemoryError, match=told):
            compute()


def test_a_large_structure_takes_what_those_of_its_blocks_take_that_are_evaluated_together(monkeypatch):
    ensemble, graph = Ensemble([built("moments").unscaled_potential()]), graph_of(carbons(10))
    take_all(monkeypatch)
    monkeypatch.setitem(ATOMS_AT_A_TIME, "cpu", 4)
    with pytest.raises(OutOfMemoryError, match=rf"features of {4 * torch.get_num_threads()} atoms"):
        ensemble(graph)


def test_stored_features_take_no_more_memory(monkeypatch):
    graph = graph_of(carbons(10))
    potential = potential_for(graph).eval()
    known = stored(graph, potential)
    expected = potential(known).energy
    take_all(monkeypatch)
    assert torch.equal(potential(known).energy, expected)
    assert torch.allclose(Ensemble([potential])(known).energy, expected)


def test_weights_for_all_elements_are_refused_before_one_is_drawn(monkeypatch):
    """Pairs of channels are 7,021, and every element has a network that reads all of them."""
    monkeypatch.setattr(memory, "free_memory", lambda: 20e9)
    with pytest.raises(
        OutOfMemoryError, match=r"network: expected weights that fit .*found 118 × \d+ × \d+ of them.*species_embedding=learned"
    ):
        parts_of([], list(range(1, 119)))
