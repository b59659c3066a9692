"""Updates that are recorded and repeated: they are the updates that would have been computed."""

import copy
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from pretended_cuda_graph import gpu  # noqa: F401  # a fixture
from small import as_on_a_gpu, carbons, ethanols
from test_padded import case, padded, unlike
from test_training import fit
from torch import nn

from nnpx.config import compose, instantiate
from nnpx.loss import Loss
from nnpx.speed.cuda_graph import RecordingError
from nnpx.trainer.gradient import ComputedGradient, RecordedGradient
from nnpx.trainer.loop import fabric_on

pytestmark = pytest.mark.usefixtures("gpu")


def gradients(
    structures: list[Atoms], *overrides: str, keep: bool = False, wrap=lambda loss: loss
) -> tuple[RecordedGradient, ComputedGradient]:
    """The same loss of the same structures, recorded and computed."""
    potential, loss, graph = case(structures, *overrides, keep=keep)
    loss = wrap(loss)
    optimizer = torch.optim.SGD(potential.parameters(), 0.0)
    computed = ComputedGradient(fabric_on("cpu"), potential, loss, optimizer, train=graph, clip=0.5)
    return RecordedGradient(computed, potential, loss, train=padded(potential, graph), clip=0.5), computed


def outcome(gradient, chosen: list[int], progress: float) -> torch.Tensor:
    loss = gradient(torch.tensor(chosen), progress)
    weights = gradient._update.weights if isinstance(gradient, RecordedGradient) else gradient._weights
    return torch.cat([loss[None], *(weight.grad.flatten() for weight in weights if weight.grad is not None)])


BATCHES = [[0, 3, 5, 4], [7, 6, 1, 2], [4, 0], [2, 1, 0, 7], [5, 6], [3, 2, 1, 6]]


@pytest.mark.parametrize("overrides", [["descriptor=moments"], ["descriptor=moments_messages"], ["descriptor=nep"], ["descriptor=acsf"]])
def test_a_recorded_update_is_the_computed_one_whatever_the_batch(monkeypatch, overrides):
    as_on_a_gpu(monkeypatch)
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


class Widened(Loss):
    """A loss that pays attention to what fills a batch up."""

    changes_at = ()

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction, graph, progress):
        return self.loss(prediction, graph, progress) + prediction.atomic_energies.square().mean()


@pytest.mark.parametrize(
    ("overrides", "wrap", "obstacle"),
    [(["descriptor=moments"], Widened, "another loss"), (["descriptor=acsf"], lambda loss: loss, "reads while it is captured")],
)
def test_what_cannot_be_recorded_is_computed_and_said_once(overrides, wrap, obstacle):
    """Triplets that are sought in every update, and a loss that counts all atoms."""
    recorded, computed = gradients(unlike(), *overrides, wrap=wrap)
    with pytest.warns(UserWarning, match="not recorded: .*") as said:
        found = [outcome(recorded, chosen, 0.0) for chosen in BATCHES]
    assert all(torch.equal(one, outcome(computed, chosen, 0.0)) for one, chosen in zip(found, BATCHES, strict=True))
    assert obstacle in recorded.obstacle
    assert len(said) == 1


def parameters() -> list[nn.Parameter]:
    """Two matrices, a row per element, a vector and a number."""
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=random, dtype=torch.float64)) for shape in ((6, 4), (3, 5, 4), (3, 1, 4), (4,), ())]


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


@pytest.mark.parametrize("error", [RecordingError, torch.OutOfMemoryError])
def test_moves_that_cannot_be_recorded_are_computed_and_that_is_said_once(error, monkeypatch):
    def fail(*_):
        raise error("out of memory")

    ends, slopes = [], [torch.ones_like(weight) for weight in parameters()]
    monkeypatch.setattr("nnpx.optimizer.soap.Captured", fail)
    for records in (True, False):
        monkeypatch.setattr("nnpx.optimizer.soap.captures", lambda device, records=records: records)
        weights = parameters()
        optimizer = instantiate(compose(["optimizer=soap"]).optimizer).build(weights)
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = slope
        with pytest.warns(UserWarning, match="not recorded: out of memory") if records else nullcontext([]) as said:
            for _ in range(5):
                optimizer.step()
        assert len(said) == records
        ends.append(weights)
    assert all(map(torch.equal, *ends))


def test_moves_are_recorded_anew_where_other_states_are_loaded():
    weights, numbers = parameters(), {**compose(["optimizer=soap"]).optimizer, "precondition_every": 3}
    optimizer, random, ends = instantiate(numbers).build(weights), np.random.default_rng(0), []
    course = [[torch.tensor(random.normal(size=weight.shape)) for weight in weights] for _ in range(8)]

    def advance(steps) -> None:
        for slopes in steps:
            for weight, slope in zip(weights, slopes, strict=True):
                weight.grad = slope.clone()
            optimizer.step()

    advance(course[:4])
    kept = copy.deepcopy((optimizer.state_dict(), [weight.detach() for weight in weights]))
    for _ in range(2):
        advance(course[4:])
        assert optimizer._recording is not None
        ends.append(torch.cat([weight.detach().flatten() for weight in weights]))
        optimizer.load_state_dict(copy.deepcopy(kept[0]))
        with torch.no_grad():
            for weight, value in zip(weights, kept[1], strict=True):
                weight.copy_(value)
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-14)


def recorded_and_not(monkeypatch, tmp_path: Path, stop_after: int | None) -> list[np.ndarray]:
    """Curves of the same training with AdamW: coordinates that SOAP finds in a first gradient of low rank hang on its rounding."""
    as_on_a_gpu(monkeypatch)
    structures, curves, made = [*ethanols(8), *carbons(6)], [], []
    monkeypatch.setattr(
        "nnpx.trainer.loop.RecordedGradient", lambda *args, **words: made.append(RecordedGradient(*args, **words)) or made[-1]
    )

    def stop(row) -> None:
        if row.epoch == stop_after:
            raise InterruptedError

    for records in (True, False):
        monkeypatch.setattr("nnpx.trainer.loop.captures", lambda device, records=records: records)
        with suppress(InterruptedError):
            fit(tmp_path / str(records), structures=structures, precision="float64", report=stop)
        curve = fit(tmp_path / str(records), structures=structures, precision="float64")[1]
        curves.append(np.array([(row.train_loss, row.valid_loss, row.valid_forces_mae) for row in curve]))
    assert all(one.obstacle is None for one in made)
    assert made[0]._recordings
    return curves


@pytest.mark.parametrize("stop_after", [None, 2])
def test_a_training_that_is_recorded_learns_what_one_that_is_not_does(monkeypatch, tmp_path: Path, stop_after):
    """Also where it is interrupted and goes on from its checkpoint."""
    found, expected = recorded_and_not(monkeypatch, tmp_path, stop_after)
    assert found == pytest.approx(expected, rel=1e-9)
