"""The potential of a round: trained on the data of the round, warm from the potential before where that is possible."""

import time
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from nnpx import artifact
from nnpx.config import instantiate
from nnpx.configuration.schema import plain
from nnpx.ensemble import Ensemble
from nnpx.files import read_json, write_json
from nnpx.fitting import Report, describe_structures, reserved, summaries, training_task
from nnpx.learning.places import RoundFolder
from nnpx.members import train_members
from nnpx.outcome import knowing_itself
from nnpx.provenance import provenance
from nnpx.trainer.loop import Trainer


def train(
    config: DictConfig,
    folder: Path,
    workspace: Path,
    *,
    warm: Path | None,
    epochs: int | None,
    report: Callable[[Report, int], None],
    tell: Callable[[str], None],
) -> None:
    """Reads `data/` of a round's folder; writes its `potential.nnpx` and `training.json`.

    An interrupted training goes on from its last epoch, bit for bit. The potential before is no candidate for the best epoch: a round
    learns from what is new, even if most of what it is validated on is not.

    Elements that the potential before does not know make a warm start impossible: the training then starts from random weights, for as many
    epochs as the first.

    Args:
        config: the experiment.
        folder: of the round.
        workspace: the folder that holds .nnpx/.
        warm: the potential to start from; None for random weights.
        epochs: of a warm training; None for those of the trainer.
        report: called after every epoch of every member, with how many epochs there are of all members together.
        tell: see `nnpx.fitting.reserved`.
    """
    resolved = plain(config)
    card, recruitment = read_json(folder / "data" / "card.json"), instantiate(config.ensemble)
    initial = warm if warm is not None and artifact.read_header(warm)["numbers"] == card["numbers"] else None
    if initial is not None and epochs is not None:
        resolved["trainer"] = {**resolved["trainer"], "max_epochs": epochs}
    task, seeds = training_task(resolved, card, workspace, initial, start_counts=False), recruitment.seeds(config.seed)
    n_epochs = len(seeds) * int(resolved["trainer"]["max_epochs"])
    with reserved(task, tell=tell):
        started = time.perf_counter()
        describe_structures(task, folder / "data")
        potentials, curves = train_members(task, seeds, n_processes=recruitment.n_processes, report=lambda made: report(made, n_epochs))
    members = summaries(seeds, curves)
    last = {"last_epochs": [member["curve"][-1] for member in members]}
    made = {**provenance(workspace), "seeds": seeds, "data_md5": card["md5"]}
    ensemble = knowing_itself(Ensemble(potentials), instantiate(config.uncertainty), folder / "data")
    artifact.save(folder / "potential.nnpx", ensemble, config=resolved, card=card, provenance=made, training=last)
    wall = round(time.perf_counter() - started, 2)
    write_json(folder / "training.json", {"wall_s": wall, "is_warm": initial is not None, "members": members})


def keep(before: RoundFolder, here: RoundFolder, config: DictConfig) -> None:
    """The potential of the round before once more, where there was nothing new to train on; calibrated on what is new to validate with."""
    trainer: Trainer = instantiate(config.trainer)
    header, card = artifact.read_header(before.potential), read_json(here.data / "card.json")
    made = {**header["provenance"], "data_md5": card["md5"]}
    members = artifact.load(before.potential, dtype=trainer.dtype).members
    ensemble = knowing_itself(Ensemble([*members]), instantiate(config.uncertainty), here.data)
    artifact.save(here.potential, ensemble, config=header["config"], card=card, provenance=made, training=header["training"])
    write_json(here.training, read_json(before.training))
