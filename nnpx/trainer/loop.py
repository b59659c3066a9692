"""The training loop."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, final

import torch
from annotated_types import Ge, Gt, Interval
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from nnpx.errors import ConfigError, TrainingError
from nnpx.graph import AtomicGraph, Prediction
from nnpx.loss import Loss, difference, mean_of_labelled
from nnpx.optimizer import Optimizer
from nnpx.potential import Potential
from nnpx.schedule import Schedule
from nnpx.speed.cuda_graph import captures
from nnpx.speed.threads import FEWEST_ATOMS, FEWEST_ATOMS_BESIDE_LOOPS, for_loops
from nnpx.trainer.average import AveragedWeights
from nnpx.trainer.gradient import ComputedGradient, Gradient, RecordedGradient
from nnpx.trainer.padded import PaddedSet, may_be_padded
from nnpx.trainer.state import Checkpoint, Epoch, State

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def is_no_advice(record: logging.LogRecord) -> bool:
    """Whether a line of Lightning's log does not advise TF32, which is never used here."""
    return "set_float32_matmul_precision" not in record.getMessage()


logging.getLogger("lightning_fabric.utilities.rank_zero").addFilter(is_no_advice)


@dataclass(frozen=True)
class Objective:
    """What is optimised, and how."""

    loss: Loss
    optimizer: Optimizer
    schedule: Schedule


def fabric_on(accelerator: str, *, devices: int = 1, strategy: str = "auto") -> Fabric:
    """Lightning Fabric on some devices of this machine, as in a process of its own.

    nnpx starts its processes itself: those that a batch system counts as tasks of the job are none of its own.

    Args:
        accelerator: `cpu`, `cuda` or `auto`.
        devices: how many.
        strategy: `ddp` shares the work among them.
    """
    return Fabric(accelerator=accelerator, devices=devices, strategy=strategy, plugins=[LightningEnvironment()])


@final
class Trainer:
    """Gradient descent on energies and forces, with averaged weights.

    Each update takes a batch of structures; after each epoch the exponential moving average of the weights (Polyak & Juditsky 1992,
    doi:10.1137/0330046) is validated, and the best average is what training returns. Lightning Fabric supplies device and parallelism.

    Args:
        accelerator: where to compute.
        devices: how many of them.
        strategy: `ddp` shares every batch among the devices and averages their gradients.
        precision: of positions, features and weights; energies are summed in float64 either way.
        max_epochs: passes over the training set.
        batch_size: structures per update; None takes all.
        validation_atoms: atoms per batch in validation.
        ema_decay: memory of the averaged weights per update; ramped up as (1 + n) / (10 + n) at the start.
        gradient_clip: largest norm of the gradient; None allows any.
        patience_epochs: stop when the validation loss has not improved for so many epochs.
        stored_descriptor_MB: a fixed descriptor and its derivatives are stored if they take at most so much memory.
        feature_floor: smallest width by which a feature is divided, as a fraction of the typical one (`nnpx.statistics.typical_width`).
    """

    def __init__(
        self,
        *,
        accelerator: Literal["cpu", "cuda", "auto"],
        devices: Annotated[int, Ge(1)],
        strategy: Literal["auto", "ddp"],
        precision: Literal["float32", "float64"],
        max_epochs: Annotated[int, Ge(1)],
        batch_size: Annotated[int, Ge(1)] | None,
        validation_atoms: Annotated[int, Ge(1)],
        ema_decay: Annotated[float, Interval(ge=0, lt=1)],
        gradient_clip: Annotated[float, Gt(0)] | None,
        patience_epochs: Annotated[int, Ge(1)],
        stored_descriptor_MB: Annotated[float, Ge(0)],
        feature_floor: Annotated[float, Gt(0)],
    ) -> None:
        self.accelerator, self.devices, self.strategy = accelerator, devices, strategy
        self.dtype = DTYPES[precision]
        self.max_epochs, self.batch_size, self.validation_atoms = max_epochs, batch_size, validation_atoms
        self.ema_decay, self.patience_epochs = ema_decay, patience_epochs
        self.gradient_clip = math.inf if gradient_clip is None else gradient_clip
        self.stored_descriptor_bytes = int(stored_descriptor_MB * 1e6)
        self.feature_floor = feature_floor

    @property
    def uses_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    def check_devices(self) -> None:
        """Finds out whether this machine has the devices, in no time.

        Raises:
            ConfigError: if it has not.
        """
        try:
            self._fabric()
        except (RuntimeError, MisconfigurationException) as problem:
            expected, do = f"{self.devices} of accelerator={self.accelerator} on this machine", "Choose trainer=cpu, or another machine."
            raise ConfigError("trainer", expected=expected, found=str(problem).splitlines()[0].rstrip("."), do=do) from problem

    def device(self) -> str:
        """Where what it has trained computes, too: `cpu` or `cuda`.

        Raises:
            ConfigError: this machine has no such device.
        """
        self.check_devices()
        return "cuda" if self.uses_gpu else "cpu"

    def check_objective(self, objective: Objective) -> None:
        """Refuses what would mislead an optimiser whose updates all have to see one function.

        Raises:
            ConfigError: something of loss, schedule or trainer would; the words that mend it are said.
        """
        one_loss = "loss=crps" if objective.loss.fits_spread else "loss=huber"  # the heads of a shallow ensemble may need it
        misleading = {
            "trainer.batch_size=null": self.batch_size is not None,
            "trainer.gradient_clip=null": math.isfinite(self.gradient_clip),
            "trainer.ema_decay=0": self.ema_decay > 0,
            "schedule=constant": not objective.schedule.is_constant,
            one_loss: objective.loss.changes_at != (),
        }
        words = [word for word, is_misleading in misleading.items() if is_misleading]
        if objective.optimizer.sees_one_function and words:
            whole = "of the whole training set (batch_size=null, as its size is known only later)"
            expected = f"with it one function in all updates: {whole}, at one learning rate, neither clipped nor averaged"
            nouns = ", ".join(word.partition("=")[0] for word in words)
            raise ConfigError("optimizer", expected=expected, found=f"another by {nouns}", do=f"Add {' '.join(words)}.")

    def _fabric(self) -> Fabric:
        return fabric_on(self.accelerator, devices=self.devices, strategy=self.strategy)

    def fit(
        self,
        potential: Potential,
        *,
        train: AtomicGraph,
        valid: AtomicGraph,
        objective: Objective,
        seed: int,
        checkpoint: Checkpoint,
        report: Callable[[Epoch, int], None],
        start_counts: bool = False,
    ) -> list[Epoch]:
        """Train the potential in place, from the checkpoint where there is one; returns the learning curve.

        Args:
            potential: initial weights in, best averaged weights out.
            train: labelled structures in this trainer's precision.
            valid: others, which the averaged weights are judged by.
            objective: loss, optimiser and schedule.
            seed: decides the order of the structures.
            checkpoint: written after every epoch.
            report: called after every epoch, and on a resumed run for the epochs before; its second argument is how many those are.
            start_counts: whether the initial weights are validated first, as epoch 0, and returned if no epoch is better.
        """
        fabric = self._fabric()
        fabric.launch()
        train, valid = train.to(fabric.device), valid.to(fabric.device)
        gradient, optimizer = self._gradient(fabric, potential, train, objective)
        averaged = AveragedWeights(potential, decay=self.ema_decay)
        state = State(model=potential, averaged=averaged, optimizer=optimizer, generator=torch.Generator().manual_seed(seed))
        if (saved := checkpoint.load()) is not None:
            state.restore(saved)
        n_before = state.epoch
        for row in state.curve:
            report(row, n_before)
        one_epoch = partial(self._one_epoch, fabric, state, gradient, train.n_structures, objective)
        with for_loops(threads_of_torch(potential, train, (self.batch_size or train.n_structures) // fabric.world_size)):
            for train_loss in self._losses(state, one_epoch, start_counts=start_counts):
                row = self._validate(state, valid, objective, train_loss)
                self._keep_best(state, row)
                if fabric.is_global_zero:
                    checkpoint.save(state)
                    report(row, n_before)
                fabric.barrier()
        state.averaged.load(state.best_weights)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        return state.curve

    def _gradient(
        self, fabric: Fabric, potential: Potential, train: AtomicGraph, objective: Objective
    ) -> tuple[Gradient, torch.optim.Optimizer]:
        """What differentiates the loss of the training set, and the optimiser that follows."""
        optimizer = objective.optimizer.build(potential.parameters())
        computed = ComputedGradient(fabric, potential, objective.loss, optimizer, train=train, clip=self.gradient_clip)
        may_record = captures(fabric.device) and fabric.world_size == 1 and objective.loss.changes_at is not None
        if not may_record or not may_be_padded(train):
            return computed, computed.optimizer
        padded = PaddedSet(train, cutoff_radius=potential.cutoff_radius, batch_size=self.batch_size or train.n_structures)
        return RecordedGradient(computed, potential, objective.loss, train=padded, clip=self.gradient_clip), computed.optimizer

    def _losses(self, state: State, one_epoch: Callable[[], float], *, start_counts: bool) -> Iterator[float]:
        """The training loss of epoch after epoch, to be validated before the next; first NaN where the start counts."""
        if start_counts and not state.curve:
            yield math.nan
        while state.epoch < self.max_epochs and state.epoch - state.best_epoch < self.patience_epochs:
            yield one_epoch()

    def _one_epoch(self, fabric: Fabric, state: State, gradient: Gradient, n_structures: int, objective: Objective) -> float:
        state.model.train()
        losses: list[Any] = []
        n_steps = self.max_epochs * math.ceil(n_structures / (self.batch_size or n_structures))
        for structures in self._batches(n_structures, state.generator, fabric):
            for group in state.optimizer.param_groups:
                group["lr"] = objective.optimizer.learning_rate * objective.schedule.fraction(state.step, n_steps)
            # asked more than once by some optimisers; Any: torch's annotations ask for a float, but a tensor does not wait for the device
            closure: Any = partial(gradient, structures, state.step / n_steps)
            losses.append(state.optimizer.step(closure))
            state.averaged.update(state.step)
            state.step += 1
        state.epoch += 1
        return float(torch.stack(losses).mean())

    def _batches(self, n_structures: int, generator: torch.Generator, fabric: Fabric) -> Iterator[Tensor]:
        """This process's share of every batch, in a new order each epoch."""
        order = torch.randperm(n_structures, generator=generator)
        for batch in order.split(self.batch_size or n_structures):
            share = batch[fabric.global_rank :: fabric.world_size]
            if len(batch) >= fabric.world_size:
                yield share

    def _validate(self, state: State, valid: AtomicGraph, objective: Objective, train_loss: float) -> Epoch:
        state.model.eval()
        with state.averaged.in_place():
            predicted = Prediction.joined([state.model(valid.select(some)).detached() for some in valid.batches(self.validation_atoms)])
        n_atoms = valid.atoms_per_structure()
        row = Epoch(
            epoch=state.epoch,
            step=state.step,
            learning_rate=float(state.optimizer.param_groups[0]["lr"]) if state.step else math.nan,
            train_loss=train_loss,
            valid_loss=float(objective.loss(predicted, valid, progress=1.0)),
            valid_energy_mae_per_atom=mean_absolute_error(predicted.energy / n_atoms, valid.energy / n_atoms),
            valid_forces_mae=mean_absolute_error(predicted.forces, valid.forces),
            valid_stress_mae=mean_absolute_error(predicted.stress, valid.stress),
        )
        losses = {**({"training": train_loss} if state.step else {}), "validation": row.valid_loss}
        if not all(map(math.isfinite, losses.values())):
            raise TrainingError(
                f"epoch {row.epoch}",
                expected="a finite loss",
                found=" and ".join(f"{loss} in {where}" for where, loss in losses.items()),
                do="Lower optimizer.learning_rate or trainer.gradient_clip, or look for outliers in the labels.",
            )
        state.curve.append(row)
        return row

    def _keep_best(self, state: State, row: Epoch) -> None:
        if row.valid_loss < state.best_loss or not state.best_weights:
            state.best_loss, state.best_epoch = row.valid_loss, row.epoch
            state.best_weights = state.averaged.copy()


def threads_of_torch(potential: Potential, train: AtomicGraph, batch_size: int) -> int:
    """How many of torch's threads an update of so many structures is worth, in which all wait for each other after every operation."""
    n_atoms = train.n_atoms * min(batch_size, train.n_structures) // train.n_structures
    in_loops = train.has_stored_features() or potential.has_loops()
    return max(1, n_atoms // (FEWEST_ATOMS_BESIDE_LOOPS if in_loops else FEWEST_ATOMS))


def mean_absolute_error(predicted: Tensor, labels: Tensor) -> float:
    """Mean over what is labelled; NaN where nothing is."""
    return float(mean_of_labelled(difference(predicted, labels).abs(), labels)) if bool((~labels.isnan()).any()) else math.nan
