"""The loss of a batch and its gradient: computed in every update, or on a GPU shown once and then repeated."""

import warnings
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from nnpx.graph import AtomicGraph
from nnpx.loss import Loss
from nnpx.potential import Potential
from nnpx.speed.cuda_graph import Captured, RecordingError, rehearse
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
        potential: what is trained; moved to the devices.
        loss: likewise.
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
    """On one GPU the same from recordings, as far as they can be made.

    An update takes hundreds of operations, which are started together from a `nnpx.speed.cuda_graph`: one for every shape of a `PaddedSet`
    and every stage of the loss. Each is compared with the computed update when it is made. Triplets that are sought in every update cannot
    be recorded, nor can very many atoms of different elements.

    Args:
        computed: what recordings are compared with, and what takes over where one cannot be made.
        potential: what is trained.
        loss: says when it changes (`Loss.changes_at`).
        train: the training set as batches of few shapes, on the GPU.
        clip: largest norm of the gradient.

    Attributes:
        obstacle: why a recording could not be made; None while all could.
    """

    def __init__(self, computed: Gradient, potential: Potential, loss: Loss, *, train: PaddedSet, clip: float) -> None:
        self._computed, self._train = computed, train
        self._update = _PaddedUpdate(potential, loss, train, clip)
        self._recordings: dict[tuple[int, ...], _Recording | None] = {}
        self._stream, self._memory = torch.cuda.Stream(self._update.weights[0].device), torch.cuda.graph_pool_handle()
        self._stages = sorted(loss.changes_at or ())
        self.obstacle: str | None = None

    def __call__(self, structures: Int[Tensor, " chosen"], progress: float) -> Float[Tensor, ""]:
        """The loss, from the recording for this shape and stage; the first asks for one to be made."""
        layout = self._train.layout(structures)
        key = (len(layout.structures), len(layout.atoms), bisect_right(self._stages, progress))
        if key not in self._recordings:
            self._recordings[key] = self._recording(structures, layout, progress)
        recording = self._recordings[key]
        return self._computed(structures, progress) if recording is None else recording.replay(layout)

    def _recording(self, structures: Int[Tensor, " chosen"], layout: Layout, progress: float) -> "_Recording | None":
        """A recording of the update, if it does what the computed one does."""
        expected = self._computed(structures, progress), _together(self._update.gradients())
        try:
            return _Recording(self._update, layout, progress, self._stream, self._memory, expected=expected)
        except RecordingError as error:
            if self.obstacle is None:
                warnings.warn(f"Updates are computed one operation after the other, not recorded: {error}.", stacklevel=2)
            self.obstacle = str(error)
            return None


@final
class _PaddedUpdate:
    """The loss of a padded batch, and its gradient with the weights: what is recorded."""

    def __init__(self, potential: Potential, loss: Loss, train: PaddedSet, clip: float) -> None:
        self._potential, self._loss, self._train, self._clip = potential, loss, train, clip
        self.weights = trained_weights(potential)

    def __call__(self, layout: Layout, progress: float) -> Float[Tensor, ""]:
        batch, edges = self._train.batch(layout)
        loss = self._loss(self._potential.predict(batch, edges), batch, progress)
        for weight in self.weights:
            weight.grad = None  # a recorded gradient is to lie in the memory of its recording
        loss.backward(inputs=self.weights)
        torch.nn.utils.clip_grad_norm_(self.weights, self._clip)
        value: Tensor = loss.detach()
        return value

    def gradients(self) -> list[Tensor | None]:
        """In the order of the weights; None where the loss does not depend on one."""
        return [weight.grad for weight in self.weights]


@final
class _Recording:
    """An update for batches of the same shapes as one.

    Args:
        update: what is recorded.
        layout: a batch of these shapes.
        progress: of this stage of the loss.
        stream: where it is recorded.
        memory: shared by all recordings.
        expected: the loss of this batch and its gradient.

    Raises:
        RecordingError: an operation reads from the GPU or fails, or the recording has another outcome.
    """

    def __init__(
        self,
        update: _PaddedUpdate,
        layout: Layout,
        progress: float,
        stream: torch.cuda.Stream,
        memory: Any,
        *,
        expected: tuple[Tensor, Tensor],
    ) -> None:
        self._weights = update.weights
        self._place = Layout(*(part.to(self._weights[0].device, copy=True) for part in layout))
        work = partial(update, self._place, progress)
        rehearse(work, stream)
        self._captured = Captured(work, stream, memory)
        self._gradients = update.gradients()
        outcome = self.replay(layout), _together(self._gradients)
        tolerance = TOLERANCE[self._weights[0].dtype]
        for found, computed in zip(outcome, expected, strict=True):
            if found.shape != computed.shape or not bool((found - computed).abs().max() <= tolerance * computed.abs().max()):
                raise RecordingError("a batch that is filled up to its shape has another loss or gradient")

    def replay(self, layout: Layout) -> Float[Tensor, ""]:
        """The loss of another batch; its gradient is with the weights."""
        for part, values in zip(self._place, layout, strict=True):
            part.copy_(values, non_blocking=True)
        loss = self._captured.replay()
        for weight, gradient in zip(self._weights, self._gradients, strict=True):
            weight.grad = gradient
        return loss.clone()


def _together(gradients: Sequence[Tensor | None]) -> Float[Tensor, " component"]:
    """As one vector, of those that there are."""
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def trained_weights(potential: nn.Module) -> list[nn.Parameter]:
    """The weights that are trained."""
    return [weight for weight in potential.parameters() if weight.requires_grad]
