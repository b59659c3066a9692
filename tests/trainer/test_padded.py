"""Batches of constant shapes: the same loss and gradient as without what fills them up, by operations that no position decides."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from small import NUMBERS, as_on_a_gpu, carbons, ethanols
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnpx.assembly import build_parts
from nnpx.config import compose, conf_dir, instantiate
from nnpx.descriptor.stored import is_fixed, store
from nnpx.graph import AtomicGraph
from nnpx.loss import Loss
from nnpx.neighbors import graph_from_list
from nnpx.potential import Potential
from nnpx.speed.recording import reads_values
from nnpx.statistics import measure_scales
from nnpx.trainer.padded import Layout, PaddedSet

DESCRIPTORS = sorted(path.stem for path in (conf_dir() / "descriptor").glob("*.yaml"))
#: those that are trained, and so computed in every update
TRAINED = ["ace", "gaussian_moments", "moments", "moments_large", "moments_medium", "moments_messages", "nep", "soap"]


def unlike() -> list[Atoms]:
    """Labelled structures that differ in size, in cell and in what is labelled: molecules, an atom alone, crystals, one of them narrow."""
    water, oxygen, narrow = molecule("H2O"), Atoms("O"), Atoms("CH", [[0.0, 0.0, 0.0], [1.0, 4.0, 4.0]], cell=[2.0, 10.0, 10.0], pbc=True)
    narrow.calc = SinglePointCalculator(narrow, energy=-3.0)
    water.calc = SinglePointCalculator(water, energy=-14.0)
    oxygen.calc = SinglePointCalculator(oxygen, energy=-2.0, forces=[[0.0, 0.0, 0.0]])
    return [*ethanols(3), water, oxygen, *carbons(2), *ethanols(1, seed=1), narrow]


def case(structures: list[Atoms], *overrides: str, keep: bool = False) -> tuple[Potential, Loss, AtomicGraph]:
    """A potential with random weights in training, its loss, and the structures as a training set in float64."""
    config = compose(["prior=zero", *overrides])
    parts = build_parts(config, numbers=NUMBERS, seed=0)
    graph = graph_from_list(structures, numbers=NUMBERS, cutoff=parts.cutoff_radius, where="test")
    with torch.no_grad():
        chemistry = parts.embedding(graph.species)
    described = store(graph, parts.descriptor, chemistry, torch.float64, derivatives=keep)
    potential = parts.potential(measure_scales(described, numbers=NUMBERS, isolated_atoms={}, feature_floor=0.3)).train()
    knows = parts.knows_spread
    loss = instantiate(config.loss, forces_rms=1.0, numbers=NUMBERS, knows_energy_std=knows, knows_forces_std=knows)
    return potential, loss, described if keep else graph


def padded(potential: Potential, graph: AtomicGraph, batch_size: int = 4) -> PaddedSet:
    return PaddedSet(graph, cutoff_radius=potential.cutoff_radius, batch_size=batch_size)


def update(potential: Potential, loss: Loss, train: PaddedSet, layout: Layout) -> Tensor:
    """The loss of a padded batch and its gradient in the weights, as one vector."""
    batch, edges = train.batch(layout)
    return outcome(potential, loss(potential.predict(batch, edges), batch, progress=0.0))


def outcome(potential: Potential, value: Tensor) -> Tensor:
    slopes = torch.autograd.grad(value, [weight for weight in potential.parameters() if weight.requires_grad])
    return torch.cat([value.detach()[None], *(slope.flatten() for slope in slopes)])


def agree(potential: Potential, loss: Loss, graph: AtomicGraph) -> None:
    train = padded(potential, graph)
    for chosen in ([0, 3, 5, 4], [7, 6], [4], [2, 1, 0, 7], [0, 8]):
        some = torch.tensor(chosen)
        batch = graph.select(some)
        expected = outcome(potential, loss(potential(batch), batch, progress=0.0))
        torch.testing.assert_close(update(potential, loss, train, train.layout(some)), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_what_fills_a_batch_up_changes_neither_the_loss_nor_its_gradient(descriptor):
    agree(*case(unlike(), f"descriptor={descriptor}"))


@pytest.mark.parametrize("overrides", [["ensemble=shallow", "loss=crps"], ["noise=heteroscedastic", "loss=nll"], ["loss=huber"]])
def test_nor_does_it_where_the_loss_asks_for_spread_or_noise(overrides):
    agree(*case(unlike(), "descriptor=moments", *overrides))


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_nor_does_it_change_what_is_stored(monkeypatch, on_a_gpu):
    if on_a_gpu:
        as_on_a_gpu(monkeypatch)
    agree(*case(unlike(), "descriptor=acsf", keep=True))


class Operations(TorchDispatchMode):
    """Which operations there were, also in backward passes, and the shapes of their results; reading a value is none that may be."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not reads_values(function, tree_leaves((args, kwargs))), function
        result = function(*args, **(kwargs or {}))
        self.found.append((function, *(tuple(one.shape) for one in tree_leaves(result) if isinstance(one, Tensor))))
        return result


def operations(work: Callable[[], object]) -> list[tuple[Any, ...]]:
    with Operations() as mode:
        work()
    return mode.found


@pytest.mark.parametrize(
    "overrides",
    [*([f"descriptor={one}"] for one in TRAINED), ["descriptor=acsf"], ["descriptor=moments", "loss=crps", "ensemble=shallow"]],
)
def test_an_update_reads_nothing_back_and_is_the_same_for_all_batches_of_a_shape(monkeypatch, overrides):
    as_on_a_gpu(monkeypatch)
    potential, loss, graph = case([*ethanols(6), *carbons(6)], *overrides, keep=overrides == ["descriptor=acsf"])
    train = padded(potential, graph)
    layouts = [train.layout(torch.tensor(chosen)) for chosen in ([0, 7, 1, 8], [9, 3, 10, 2])]
    assert [part.shape for part in layouts[0]] == [part.shape for part in layouts[1]]
    first, second = (operations(partial(update, potential, loss, train, layout)) for layout in layouts)
    assert first == second


def test_batches_have_few_shapes_and_waste_little():
    potential, _, graph = case([*ethanols(12), *carbons(12)], "descriptor=moments")
    train, generator = padded(potential, graph, batch_size=8), torch.Generator().manual_seed(0)
    sizes = set()
    for _ in range(200):
        chosen = torch.randperm(graph.n_structures, generator=generator)[:8]
        layout = train.layout(chosen)
        n_labelled = int(graph.atoms_per_structure()[chosen].sum())
        assert n_labelled < len(layout.atoms) <= n_labelled + 1 + 8 * 9 // 8
        sizes.add(len(layout.atoms))
    assert len(sizes) <= 8


def test_equal_molecules_are_filled_up_by_one_atom():
    potential, _, graph = case(ethanols(6), "descriptor=moments")
    assert len(padded(potential, graph).layout(torch.tensor([4, 1, 2])).atoms) == 3 * 9 + 1


def test_the_others_are_fixed_and_read_from_what_is_stored():
    fixed = {name for name in DESCRIPTORS if is_fixed(build_parts(compose([f"descriptor={name}"]), numbers=NUMBERS, seed=0).descriptor)}
    assert fixed == set(DESCRIPTORS) - set(TRAINED)
