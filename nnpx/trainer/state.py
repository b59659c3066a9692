"""The state of a training run, and its checkpoint on disk."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from nnpx.errors import CheckpointError
from nnpx.files import to_disk, whole
from nnpx.trainer.average import AveragedWeights

#: raised whenever the content of a checkpoint changes meaning
FORMAT: Final = 3


@dataclass(frozen=True)
class Epoch:
    """One row of the learning curve; errors are mean absolute ones of the averaged weights on the validation set, NaN without labels."""

    epoch: int  #: from 1; 0 is the start, where it counts as one, without learning rate and training loss (NaN)
    step: int  #: updates so far
    learning_rate: float
    train_loss: float  #: mean over the epoch
    valid_loss: float
    valid_energy_mae_per_atom: float  #: eV
    valid_forces_mae: float  #: eV/Å
    valid_stress_mae: float  #: eV/Å³


@dataclass
class State:
    """Everything that the rest of a run depends on."""

    model: nn.Module
    averaged: AveragedWeights
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  #: decides the order of the structures
    epoch: int = 0  #: epochs completed
    step: int = 0  #: updates made
    best_loss: float = float("inf")
    best_epoch: int = 0
    best_weights: list[torch.Tensor] = field(default_factory=list)
    curve: list[Epoch] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers and lists."""
        return {
            "format": FORMAT,
            "model": self.model.state_dict(),
            "averaged": self.averaged.copy(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "step": self.step,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "curve": [asdict(row) for row in self.curve],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue where a saved state stopped."""
        self.model.load_state_dict(saved["model"])
        self.averaged.restore(saved["averaged"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.generator.set_state(saved["generator"])
        self.epoch, self.step = saved["epoch"], saved["step"]
        self.best_loss, self.best_epoch, self.best_weights = saved["best_loss"], saved["best_epoch"], saved["best_weights"]
        self.curve = [Epoch(**row) for row in saved["curve"]]


@dataclass(frozen=True)
class Checkpoint:
    """A file that always holds a complete state: it is written beside and then renamed."""

    path: Path

    def save(self, state: State) -> None:
        """Write the state; whatever happens on the way, the previous checkpoint stays readable.

        Raises:
            CheckpointError: the disk is full or not writable.
        """
        try:
            with whole(self.path) as file:
                torch.save(state.to_dict(), file)
                to_disk(file)
        except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
            kept = f"the checkpoint before it is intact at {self.path}" if self.path.exists() else "there was none before it"
            raise CheckpointError(
                str(self.path),
                expected="room for a checkpoint on a writable disk",
                found=f"{error} ({kept})",
                do="Free some space and run the same command again: it continues from the last complete epoch.",
            ) from error

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None where there is none.

        Raises:
            CheckpointError: the file is not a checkpoint of this format.
        """
        if not self.path.exists():
            return None
        try:
            saved: dict[str, Any] = torch.load(self.path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises many kinds for a file that is not its own
            raise self._unreadable(f"{type(error).__name__} while reading") from error
        if saved.get("format") != FORMAT:
            raise self._unreadable(f"format {saved.get('format')}")
        return saved

    def _unreadable(self, found: str) -> CheckpointError:
        return CheckpointError(
            str(self.path), expected=f"a checkpoint of format {FORMAT}", found=found, do="Delete the file to start this training anew."
        )
