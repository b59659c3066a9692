"""The loss of a batch and its gradient: computed in every update, or on a GPU shown once and then repeated."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from functools import partial
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from nnpx.cuda_graph import Captured, RecordingError, rehearse
from nnpx.graph import AtomicGraph
from nnpx.loss import Loss
from nnpx.potential import Potential
from nnpx.trainer.padded import Layout, PaddedSet

#: largest difference between a recorded update and a computed one, as a fraction: sums on a GPU have no order
TOLERANCE: Final = {torch.float32: 1e-3, torch.float64: 1e-9}


class Gradient(ABC):
    """The gradient of the loss of some structures of the training set, which it leaves with the weights."""

    @abstractmethod
    def __call__(self, structures: Int[Tensor, " chosen"], progress: float) -> Float[Tensor, ""]:
        """The loss.

        Args:
            structures: of the training set; on the processor.
            progress: fraction of the updates made.
        """


@final
class _LossOfBatch(nn.Module):
    """What every process evaluates, and what Fabric wraps: from a batch to one number."""

    def __init__(self, potential: Potential, loss: Loss) -> None:
        super().__init__()
        self.potential, self.loss = potential, loss

    def forward(self, batch: AtomicGraph, progress: float) -> Float[Tensor, ""]:
        loss: Tensor = self.loss(self.potential(batch), batch, progress)
        return loss


@final
class ComputedGradient(Gradient):
    """Computed anew every time, on whatever devices there are: their shares of a batch are averaged.

    Args:
        fabric: the devices.
        potential: in training mode.
        loss: on the same device.
        optimizer: of the potential's weights.
        train: the training set, on the same device.
        clip: largest norm of the gradient.

    Attributes:
        optimizer: it again, as Fabric sets it up.
    """

    def __init__(
        self,
        fabric: Fabric,
        potential: Potential,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        *,
        train: AtomicGraph,
        clip: float,
    ) -> None:
        self._fabric, self._train, self._clip = fabric, train, clip
        self._weights = trained_weights(potential)
        self._loss, self.optimizer = fabric.setup(_LossOfBatch(potential, loss), optimizer)

    def __call__(self, structures: Int[Tensor, " chosen"], progress: float) -> Float[Tensor, ""]:
        """The mean over the devices."""
        loss = self._loss(self._train.select(structures.to(self._fabric.device)), progress)
        self.optimizer.zero_grad(set_to_none=True)
        # only the weights: the energy also depends on the geometry, whose gradient nobody needs a second time
        self._fabric.backward(loss, inputs=self._weights)
        torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
        mean: Tensor = self._fabric.all_reduce(loss.detach())
        return mean


@final
class RecordedGradient(Gradient):
    """On one GPU the same from recordings, if the potential and the loss can be recorded.

    An update takes hundreds of operations, which are started together from a `nnpx.cuda_graph`: one for every shape of a `PaddedSet` and
    every stage of the loss. Triplets that are sought in every update cannot be recorded, nor can very many atoms of different elements.

    Args:
        computed: what takes over where nothing can be recorded.
        potential: in training mode.
        loss: on the same device.
        train: the training set as batches of few shapes, on the same device.
        clip: largest norm of the gradient.

    Attributes:
        obstacle: why nothing is recorded; None where that is not known.
    """

    def __init__(self, computed: Gradient, potential: Potential, loss: Loss, *, train: PaddedSet, clip: float) -> None:
        self._computed, self._train = computed, train
        self._update = _PaddedUpdate(potential, loss, train, clip)
        self._recordings: dict[tuple[int, ...], _Recording] = {}
        self._stream, self._memory = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self._stages = sorted(loss.changes_at or ())
        self.obstacle = None if loss.changes_at is not None else "the loss may change in every update"

    def __call__(self, structures: Int[Tensor, " chosen"], progress: float) -> Float[Tensor, ""]:
        """The loss, from the recording for this shape and stage; the first asks for one to be made."""
        if self.obstacle is not None:
            return self._computed(structures, progress)
        layout = self._train.layout(structures)
        key = (len(layout.structures), len(layout.atoms), bisect_right(self._stages, progress))
        if key not in self._recordings:
            try:
                self._recordings[key] = _Recording(self._update, layout, progress, self._stream, self._memory)
            except RecordingError as error:
                self.obstacle = str(error)
                self._recordings.clear()
                return self._computed(structures, progress)
        return self._recordings[key].replay(layout)


@final
class _PaddedUpdate:
    """The loss of a padded batch, and its gradient with the weights: what is recorded."""

    def __init__(self, potential: Potential, loss: Loss, train: PaddedSet, clip: float) -> None:
        self._potential, self._loss, self._train, self._clip = potential, loss, train, clip
        self.weights = trained_weights(potential)

    def __call__(self, layout: Layout, progress: float) -> Tensor:
        batch, edges = self._train.batch(layout)
        loss = self._loss(self._potential.predict(batch, edges), batch, progress)
        for weight in self.weights:
            weight.grad = None  # a recorded gradient is to lie in the memory of its recording
        loss.backward(inputs=self.weights)
        torch.nn.utils.clip_grad_norm_(self.weights, self._clip)
        value: Tensor = loss.detach()
        return value

    def gradients(self) -> list[Tensor]:
        """Where they lie, in the order of the weights."""
        return [weight.grad for weight in self.weights if weight.grad is not None]


@final
class _Recording:
    """An update for batches of the same shapes as one.

    Raises:
        RecordingError: an operation reads from the GPU, or the recording has another outcome.
    """

    def __init__(self, update: _PaddedUpdate, layout: Layout, progress: float, stream: torch.cuda.Stream, memory: Any) -> None:
        self._place = Layout(*(part.to(update.weights[0].device, copy=True) for part in layout))
        work = partial(update, self._place, progress)
        expected = [rehearse(work, stream).clone(), *(gradient.clone() for gradient in update.gradients())]
        self._captured = Captured(work, stream, memory)
        self._gradients, self._weights = update.gradients(), [weight for weight in update.weights if weight.grad is not None]
        for one, other in zip([self.replay(layout), *self._gradients], expected, strict=True):
            if bool((one - other).abs().max() > TOLERANCE[one.dtype] * other.abs().max()):
                raise RecordingError("the recording differs from what it recorded")

    def replay(self, layout: Layout) -> Float[Tensor, ""]:
        """The loss of another batch; its gradient is with the weights."""
        for part, values in zip(self._place, layout, strict=True):
            part.copy_(values, non_blocking=True)
        loss = self._captured.replay()
        for weight, gradient in zip(self._weights, self._gradients, strict=True):
            weight.grad = gradient
        return loss.clone()


def trained_weights(potential: nn.Module) -> list[nn.Parameter]:
    """The weights that are trained."""
    return [weight for weight in potential.parameters() if weight.requires_grad]
