"""Updates that are recorded and repeated: they are the updates that would have been computed."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from lightning_fabric import Fabric
from pretended_cuda_graph import PretendedGraph, gpu  # noqa: F401  # a fixture
from small import carbons, ethanols
from test_padded import case, padded, unlike
from test_training import fit
from torch import nn

from nnpx.config import compose, instantiate
from nnpx.cuda_graph import RecordingError
from nnpx.descriptor import stored
from nnpx.ensemble import Ensemble
from nnpx.ensemble.recorded import Recordings
from nnpx.loss import Loss
from nnpx.neighbors import graph_from_list
from nnpx.trainer.gradient import ComputedGradient, RecordedGradient

pytestmark = pytest.mark.usefixtures("gpu")


def gradients(
    structures: list[Atoms], *overrides: str, keep: bool = False, wrap=lambda loss: loss
) -> tuple[RecordedGradient, ComputedGradient]:
    """The same loss of the same structures, recorded and computed."""
    potential, loss, graph = case(structures, *overrides, keep=keep)
    loss = wrap(loss)
    optimizer = torch.optim.SGD(potential.parameters(), 0.0)
    computed = ComputedGradient(Fabric(accelerator="cpu", devices=1), potential, loss, optimizer, train=graph, clip=0.5)
    return RecordedGradient(computed, potential, loss, train=padded(potential, graph), clip=0.5), computed


def outcome(gradient, chosen: list[int], progress: float) -> torch.Tensor:
    loss = gradient(torch.tensor(chosen), progress)
    weights = gradient._update.weights if isinstance(gradient, RecordedGradient) else gradient._weights
    return torch.cat([loss[None], *(weight.grad.flatten() for weight in weights)])


BATCHES = [[0, 3, 5, 4], [7, 6, 1, 2], [4, 0], [2, 1, 0, 7], [5, 6], [3, 2, 1, 6]]


@pytest.mark.parametrize("overrides", [["descriptor=moments"], ["descriptor=moments_messages"], ["descriptor=nep"], ["descriptor=acsf"]])
def test_a_recorded_update_is_the_computed_one_whatever_the_batch(monkeypatch, overrides):
    monkeypatch.setattr(stored, "in_place", stored.gathered)  # as on a GPU
    recorded, computed = gradients(unlike(), *overrides, keep=overrides == ["descriptor=acsf"])
    for k, chosen in enumerate(BATCHES):
        found, expected = outcome(recorded, chosen, k / 6), outcome(computed, chosen, k / 6)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    assert recorded.obstacle is None
    assert len(recorded._recordings) < len(BATCHES)


def test_each_stage_of_a_loss_is_recorded_by_itself():
    recorded, computed = gradients(unlike(), "descriptor=moments", "loss=two_stage")
    losses = []
    for progress in (0.0, 0.5, 0.74, 0.76, 1.0):
        found, expected = outcome(recorded, BATCHES[0], progress), outcome(computed, BATCHES[0], progress)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        losses.append(float(found[0]))
    assert len({*losses[:3]}) == 1 == len({*losses[3:]})
    assert losses[0] != losses[-1]
    assert len(recorded._recordings) == 2


class Fading(Loss):
    """A loss that is another one in every update, and does not say so."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction, graph, progress):
        return (1.0 - 0.5 * progress) * self.loss(prediction, graph, progress)


@pytest.mark.parametrize(("overrides", "wrap"), [(["descriptor=moments"], Fading), (["descriptor=acsf"], lambda loss: loss)])
def test_what_cannot_be_recorded_is_computed(monkeypatch, overrides, wrap):
    """A loss that may change in every update, and triplets that are sought in every update."""
    monkeypatch.setattr("nnpx.trainer.gradient.rehearse", lambda work, stream: rehearsed(work))
    recorded, computed = gradients(unlike(), *overrides, wrap=wrap)
    for k, chosen in enumerate(BATCHES[:3]):
        assert torch.equal(outcome(recorded, chosen, k / 6), outcome(computed, chosen, k / 6))
    assert recorded.obstacle is not None


def rehearsed(work):
    """Refuses, as a GPU would, what reads a value."""
    try:
        with PretendedGraph():
            return work()
    except RuntimeError as error:
        raise RecordingError(str(error)) from error


def parameters() -> list[nn.Parameter]:
    """Two matrices, a row per element and a vector."""
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=random, dtype=torch.float64)) for shape in ((6, 4), (3, 5, 4), (3, 1, 4), (4,))]


def test_recorded_moves_of_soap_are_the_computed_ones_also_after_refreshes_and_at_other_rates(monkeypatch):
    ends, random = [], np.random.default_rng(0)
    course = [[torch.tensor(random.normal(size=weight.shape)) for weight in parameters()] for _ in range(17)]
    for records in (True, False):
        monkeypatch.setattr("nnpx.optimizer.soap.captures", lambda device, records=records: records)
        weights = parameters()
        optimizer = instantiate({**compose(["optimizer=soap"]).optimizer, "precondition_every": 3}).build(weights)
        for k, slopes in enumerate(course):
            for weight, slope in zip(weights, slopes, strict=True):
                weight.grad = slope.clone()
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + k)
            optimizer.step()
        assert (optimizer._recording is not None) is records
        ends.append(torch.cat([weight.detach().flatten() for weight in weights]))
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-14)


def test_a_training_that_is_recorded_learns_what_one_that_is_not_does(monkeypatch, tmp_path: Path):
    """With AdamW: coordinates that SOAP finds in a first gradient of low rank hang on its rounding."""
    monkeypatch.setattr(stored, "in_place", stored.gathered)
    structures, curves = [*ethanols(8), *carbons(6)], []
    for records in (True, False):
        monkeypatch.setattr("nnpx.trainer.loop.captures", lambda device, records=records: records)
        curves.append(fit(tmp_path / str(records), structures=structures, precision="float64")[1])
    found, expected = ([(row.train_loss, row.valid_loss, row.valid_forces_mae) for row in curve] for curve in curves)
    assert np.array(found) == pytest.approx(np.array(expected), rel=1e-9)


def test_molecules_are_evaluated_from_a_recording_after_all_that_made_it_is_gone():
    potential, _, _ = case(ethanols(3), "descriptor=moments")
    ensemble = Ensemble([potential.eval()]).requires_grad_(requires_grad=False)
    recordings = Recordings(ensemble, after=0)
    for seed in range(4):
        structures = ethanols(3, seed=seed)
        found = recordings.predict(structures, np.concatenate([atoms.positions for atoms in structures]), spread=False)
        gc.collect()
        graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where="test")
        expected = ensemble(graph, spread=False)
        assert found is not None
        torch.testing.assert_close(found.energy, expected.energy, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found.forces, expected.forces, rtol=1e-8, atol=1e-8)
