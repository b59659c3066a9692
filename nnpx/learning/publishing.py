"""What a loop leaves in the project: its potential and its data, where the other verbs look for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnpx import artifact
from nnpx.files import md5, read_json, whole, write_json
from nnpx.learning import dataset
from nnpx.learning.places import RoundFolder
from nnpx.outcome import measure


def publish(last: RoundFolder, workspace: Path, run_id: str) -> Path:
    """Copies the last round's data to data/prepared/ and its potential to models/, so that evaluate, simulate and report work on them.

    The next `nnpx prepare`, or a verb that needs it, makes the data of the experiment anew; what was learned stays in learn/.

    Args:
        last: the last round.
        workspace: the project folder.
        run_id: of the loop's run; what the other verbs find is added to it.

    Returns:
        The potential.
    """
    path, made_of, prepared = workspace / "models" / "potential.nnpx", md5(last.potential), workspace / "data" / "prepared"
    known = read_json(path.with_name("training.json"))
    if not _same(dataset.files_of(last.data), dataset.files_of(prepared)):
        dataset.copy(last.data, prepared)
    if known.get("learned") == made_of and _same([last.potential], [path]):
        return path
    with whole(path) as file:
        file.write(last.potential.read_bytes())
    training: dict[str, Any] = read_json(last.training)
    outcome = measure(artifact.load(path), prepared, train_wall_s=training["wall_s"])
    members = [{**member, "run_id": ""} for member in training["members"]]
    told = {"run_id": run_id, "wall_s": training["wall_s"], "valid_md5": md5(prepared / "valid.extxyz")}
    write_json(path.with_name("training.json"), {**told, "outcome": outcome, "members": members, "learned": made_of})
    return path


def _same(originals: Sequence[Path], copies: Sequence[Path]) -> bool:
    return all(two.is_file() and md5(one) == md5(two) for one, two in zip(originals, copies, strict=True))
