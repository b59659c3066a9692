"""What a trial is judged by: the outcome of a training, and the learning curve on the way to it."""

from pathlib import Path
from typing import Final

from nnpx.files import read_json

#: what `nnpx train` writes as its outcome, and the column of the learning curve that leads there
OUTCOME: Final[dict[str, str | None]] = {
    "valid/energy_per_atom_mae": "valid_energy_mae_per_atom",
    "valid/forces_mae": "valid_forces_mae",
    "valid/stress_mae": "valid_stress_mae",
    "us_per_atom": None,
    "n_parameters": None,
    "train_wall_s": None,
}


def read_outcome(workspace: Path) -> dict[str, float]:
    """The numbers under "outcome" in models/training.json; empty where there is no such file or key."""
    found = read_json(workspace / "models" / "training.json").get("outcome", {})
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
