"""Sums over triplets in loops, against the same in operations of torch."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from descriptor.environments import acetamide, parts_of

from nnpx.descriptor import Descriptor, triplet_sums
from nnpx.descriptor.stored import store
from nnpx.neighbors import graph_from_list
from nnpx.speed.compiled import without_loops

NUMBERS = [1, 6, 7, 8]
#: symmetry functions with and without a third side, of shifted and centred shells, of some functions only, and of one channel
OPTIONS = {
    "narrow": ["descriptor=acsf"],
    "centred": ["descriptor=acsf_narrow"],
    "wide": ["descriptor=acsf", "descriptor.kind=wide", "descriptor.angular.n_shells=9"],
    "one zeta": ["descriptor=acsf", "descriptor.angular.zetas=[2]", "descriptor.angular.lambdas=[1]", "descriptor.angular.n_shells=1"],
    "published": ["descriptor=acsf_set51", "cutoff.radius=6.0"],
    "aev": ["experiment=ani_2x"],
    "weighted": ["descriptor=wacsf", "species_embedding=atomic_number"],
    "with Gaussians outside the radius": ["descriptor=wacsf", "radial=wacsf", "species_embedding=atomic_number"],
}


def structures() -> list[Atoms]:
    """A molecule, many neighbours of one element and of two, an atom and a pair by themselves."""
    carbon, nitride = bulk("C", cubic=True), bulk("CN", "zincblende", a=3.7, cubic=True)
    for atoms in (carbon, nitride):
        atoms.rattle(0.1, seed=1)
    return [acetamide(), carbon, Atoms("O"), nitride, Atoms("CO", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]]), acetamide()]


def case(words: list[str], dtype: torch.dtype = torch.float64):
    """A descriptor, the edges of the structures and the vectors of their atoms."""
    parts = parts_of(words, NUMBERS)
    graph = graph_from_list(structures(), numbers=NUMBERS, cutoff=parts.cutoff_radius, where="test").cast(dtype)
    descriptor, embedding = copy.deepcopy(parts.descriptor).to(dtype), parts.embedding.to(dtype)
    return descriptor, graph.edges(), embedding(graph.species).detach()


def slopes_for(features: torch.Tensor, n: int = 2) -> torch.Tensor:
    return torch.randn(n, *features.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_features_and_pulls_are_those_of_torch(words, dtype, within):
    descriptor, edges, chemistry = case(words)
    with without_loops():
        expected, pull = descriptor.linearised(edges, chemistry)
    slopes = slopes_for(expected)
    pulls = pull(slopes)
    descriptor, edges, chemistry = case(words, dtype)
    assert descriptor.expanded(edges, chemistry) is not None
    features, pull = descriptor.linearised(edges, chemistry)
    assert features.dtype is dtype
    torch.testing.assert_close(features.double(), expected, rtol=within, atol=within * float(expected.abs().max()))
    torch.testing.assert_close(pull(slopes.to(dtype)).double(), pulls, rtol=within, atol=within * float(pulls.abs().max()))


@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_derivatives_that_are_stored_are_those_of_torch(words):
    descriptor, edges, chemistry = case(words)
    with without_loops():
        expected = descriptor.jacobian(edges, chemistry)
    torch.testing.assert_close(descriptor.jacobian(edges, chemistry), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_a_loss_in_forces_has_the_gradient_that_torch_finds(words):
    """Updates of a training whose features are not stored differentiate the pulls once more, in the slopes."""
    descriptor, edges, chemistry = case(words)
    variables, found = edges.as_variables(), []
    for way in (descriptor.trainable, lambda *given, **named: Descriptor.trainable(descriptor, *given, **named)):
        features, pull = way(variables, chemistry, create_graph=True)
        slopes = slopes_for(features).requires_grad_()
        pulls = pull(slopes)
        found.append(torch.autograd.grad((pulls * torch.sin(pulls.detach())).sum(), slopes)[0])
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-8 * float(found[1].abs().max()))


def test_functions_that_were_chosen_stand_in_their_order():
    names = parts_of(["descriptor=acsf"], NUMBERS).descriptor.names()
    chosen = [name for k, name in enumerate(names) if k % 7 == 3]
    all_of_them, some = (case(["descriptor=acsf", f"descriptor.functions={words}"]) for words in ("null", repr(chosen)))
    features = [one.linearised(edges, chemistry)[0] for one, edges, chemistry in (all_of_them, some)]
    assert some[0].names() == chosen
    assert torch.equal(features[1], features[0][:, [names.index(name) for name in chosen]])


@pytest.mark.parametrize("words", [["descriptor=acsf"], ["experiment=moments"]])
def test_tables_are_neither_copied_nor_sent_to_other_processes(words):
    """Those of a copy are made anew, as its numbers lie elsewhere; and a thread that copies does not meet one that makes tables."""
    descriptor, edges, chemistry = case(words)
    before = len(pickle.dumps(descriptor))
    features = descriptor.linearised(edges, chemistry)[0]
    assert len(pickle.dumps(descriptor)) == len(pickle.dumps(copy.deepcopy(descriptor))) == before
    assert torch.equal(pickle.loads(pickle.dumps(descriptor)).linearised(edges, chemistry)[0], features)


def test_a_table_is_made_anew_when_its_functions_change():
    descriptor, edges, chemistry = case(["descriptor=acsf"])
    before = descriptor.linearised(edges, chemistry)[0]
    descriptor.grid.eta *= 1.5
    after = descriptor.linearised(edges, chemistry)[0]
    with without_loops():
        expected = descriptor.linearised(edges, chemistry)[0]
    assert not torch.allclose(before, expected)
    torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("words", [["species_embedding=learned"], ["descriptor.angular.zetas=[1.5]"], ["descriptor.angular.zetas=[1]"]])
def test_what_has_no_loops_is_computed_by_torch(words):
    """Vectors with several numbers, and cones with a kink where the angle is straight, of which there is no table."""
    descriptor, edges, chemistry = case(["descriptor=acsf", *words])
    has_loops = words == ["descriptor.angular.zetas=[1]"]
    assert descriptor.has_loops(chemistry) == has_loops
    assert (descriptor.expanded(edges, chemistry) is not None) == has_loops
    with without_loops():
        expected = descriptor.linearised(edges, chemistry)[0]
    torch.testing.assert_close(descriptor.linearised(edges, chemistry)[0], expected, rtol=1e-9, atol=1e-9)


def test_a_pair_that_is_nowhere_has_features_that_are_none():
    descriptor, edges, chemistry = case(["descriptor=acsf"])
    broken = edges.moved(edges.vector.index_put((torch.tensor([3]),), torch.tensor(torch.nan, dtype=torch.float64)))
    features, pull = descriptor.linearised(broken, chemistry)
    own = edges.center[3]
    assert features[own].isnan().any()
    assert features[torch.arange(len(features)) != own].isfinite().all()
    assert pull(torch.ones(1, *features.shape, dtype=torch.float64))[0, edges.center == own].isnan().any()


@pytest.mark.slow
@pytest.mark.parametrize("n_shells", [1, 9])
def test_no_loop_reaches_beyond_its_arrays(n_shells, tmp_path):
    """With fewer functions than eight and with more, of one atom and of many; Numba checks the bounds when it is told to."""
    code = f"""
from test_triplet_sums import case, slopes_for
for zetas in ("[2]", "[1,2,3,4,6]"):
    words = ["descriptor=acsf", "descriptor.angular.n_shells={n_shells}", f"descriptor.angular.zetas={{zetas}}"]
    descriptor, edges, chemistry = case(words)
    assert descriptor.jacobian(edges, chemistry).isfinite().all()
    features, pull = descriptor.trainable(edges.as_variables(), chemistry, create_graph=True)
    slopes = slopes_for(features).requires_grad_()
    pull(slopes).square().sum().backward()
    assert slopes.grad.isfinite().all()
"""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(["tests", "tests/descriptor", os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_stored_features_are_those_that_are_evaluated():
    """Torch computes the former, loops the latter."""
    parts = parts_of(["descriptor=acsf"], NUMBERS)
    graph = graph_from_list(structures(), numbers=NUMBERS, cutoff=parts.cutoff_radius, where="test")
    chemistry = parts.embedding(torch.arange(len(NUMBERS)))[graph.species].detach()
    kept = store(graph, parts.descriptor, chemistry, torch.float64, derivatives=False)
    torch.testing.assert_close(kept.features, parts.descriptor.linearised(graph.edges(), chemistry)[0], rtol=1e-9, atol=1e-9)


def test_operations_say_the_shapes_of_what_they_give(monkeypatch):
    """Whoever only wants these hands over tensors without numbers."""
    descriptor, edges, chemistry = case(["descriptor=acsf"])
    calls = []
    for name in ("SUMS", "PULLS", "CHANGES"):
        operation = getattr(triplet_sums, name)

        def noted(*given, operation=operation):
            calls.append((operation, given, operation(*given)))
            return calls[-1][2]

        monkeypatch.setattr(triplet_sums, name, noted)
    features, pull = descriptor.trainable(edges, chemistry, create_graph=True)
    slopes = slopes_for(features).requires_grad_()
    torch.autograd.grad(pull(slopes).square().sum(), slopes)
    assert len(calls) == 3
    for operation, given, found in calls:
        assert operation(*map(without_numbers, given)).shape == found.shape


def without_numbers(given):
    if isinstance(given, list):
        return list(map(without_numbers, given))
    return given.to("meta") if isinstance(given, torch.Tensor) else given
