"""Where a round keeps what."""

from dataclasses import dataclass
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True)
class RoundFolder:
    """The folder of one round."""

    folder: Path

    def walker(self, number: int) -> Path:
        """Where a walker is at the end of the round, or where it begins: positions, momenta, random numbers."""
        return self.folder / "walkers" / f"{number:03d}.npz"

    def trail(self, name: str) -> Path:
        """The way of a walker through the round, to look at."""
        return self.folder / "walkers" / f"{name}.extxyz"

    @property
    def walk(self) -> Path:
        """What the walkers met, in numbers."""
        return self.folder / "walkers.json"

    @property
    def candidates(self) -> Path:
        """Frames within the band."""
        return self.folder / "candidates.extxyz"

    @property
    def drawn(self) -> Path:
        """Frames drawn at random."""
        return self.folder / "drawn.extxyz"

    @property
    def selected(self) -> Path:
        """What is to be labelled."""
        return self.folder / "selected.extxyz"

    @property
    def calls(self) -> Path:
        """The journal of the labelling."""
        return self.folder / "calls.jsonl"

    @property
    def labelled(self) -> Path:
        """What has been labelled, and passed its check."""
        return self.folder / "labelled.extxyz"

    @property
    def labels(self) -> Path:
        """How the labelling went."""
        return self.folder / "labels.json"

    @property
    def data(self) -> Path:
        """The data set after the round."""
        return self.folder / "data"

    @property
    def potential(self) -> Path:
        """The potential after the round."""
        return self.folder / "potential.nnpx"

    @property
    def training(self) -> Path:
        """Its learning curves."""
        return self.folder / "training.json"

    @property
    def report(self) -> Path:
        """The round in numbers."""
        return self.folder / "report.json"


def place(loop: Path, number: int) -> RoundFolder:
    """The place of a round of the loop in this folder."""
    return RoundFolder(loop / f"round_{number:02d}")
