"""Trains the ensemble: one run, with a nested run for each member."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from nnpx import artifact, choices
from nnpx.config import instantiate
from nnpx.ensemble import Ensemble
from nnpx.files import write_json
from nnpx.fitting import Report, describe_structures, for_json, reserved, summaries, training_task
from nnpx.following import tell_follower
from nnpx.initial import initial_potential
from nnpx.lineage import open_runs, record_lineage
from nnpx.members import train_members
from nnpx.outcome import knowing_itself, measure, remarks
from nnpx.progress import Bars
from nnpx.trainer.progress import watcher


def main(config: DictConfig, workspace: Path) -> None:
    """Reads data/prepared/; writes models/potential.nnpx and models/training.json."""
    console, path, prepared = Console(), workspace / "models" / "potential.nnpx", workspace / "data" / "prepared"
    resolved = OmegaConf.to_container(config, resolve=True)
    card, recruitment = json.loads((prepared / "card.json").read_text(encoding="utf-8")), instantiate(config.ensemble)
    task, seeds = training_task(resolved, card, workspace, initial_potential(config, workspace)), recruitment.seeds(config.seed)
    for remark in card.get("remarks", []):
        console.print(f"train: data: {remark}", highlight=False, markup=False)
    with ExitStack() as stack:
        stack.enter_context(reserved(task, tell=lambda said: console.print(f"train: {said}")))
        started = time.perf_counter()
        console.print(f"train: {describe_structures(task, prepared)}")
        run, members = open_runs(stack, instantiate(config.tracking, workspace=workspace), resolved, card["md5"]["train"], seeds)
        made = record_lineage(run, config, workspace, task.initial)
        show = watcher(stack.enter_context(Bars(console, "train", stays=True)), len(seeds), config.trainer.max_epochs)

        def report(received: Report) -> None:
            members[received.member].log_metrics(for_json(received.epoch), step=received.epoch.epoch)
            show(received.member, received.epoch, received.n_before)
            tell_follower(run, received)

        potentials, curves = train_members(task, seeds, n_processes=recruitment.n_processes, report=report)
        wall = round(time.perf_counter() - started, 2)
        summary = [{"run_id": member.id, **told} for member, told in zip(members, summaries(seeds, curves), strict=True)]
        uncertainty = instantiate(config.uncertainty)
        ensemble = knowing_itself(Ensemble(potentials), uncertainty, prepared)
        last = {"last_epochs": [member["curve"][-1] for member in summary]}
        artifact.save(path, ensemble, config=resolved, card=card, provenance=made, training=last)
        outcome = measure(artifact.load(path), prepared, train_wall_s=wall)
        kept = {"run_id": run.id, "wall_s": wall, "valid_md5": card["md5"]["valid"], "outcome": outcome, "members": summary}
        write_json(path.with_name("training.json"), kept)
        run.log_metrics(outcome, step=0)
        run.log_model(path, name=config.name, alias="" if choices.is_one_of_many() else "candidate")
    for remark in remarks(summary, ensemble, uncertainty):
        console.print(f"train: {remark}", highlight=False)
    console.print(f"train: {len(seeds)} member{'s' * (len(seeds) > 1)} in {wall:.0f} s → {path.relative_to(workspace)}")
