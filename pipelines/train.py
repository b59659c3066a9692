"""Trains the ensemble: one run, with a nested run for each member."""

import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nnpx import artifact
from nnpx.config import instantiate
from nnpx.ensemble import Ensemble
from nnpx.fitting import Report, describe_structures, finite, forget_graphs, train_members, training_task
from nnpx.tracking import provenance


def main(config: DictConfig, workspace: Path) -> None:
    """Reads data/prepared/; writes models/potential.nnpx and models/training.json."""
    started, console = time.perf_counter(), Console()
    resolved = OmegaConf.to_container(config, resolve=True)
    card = json.loads((workspace / "data" / "prepared" / "card.json").read_text(encoding="utf-8"))
    recruitment, task = instantiate(config.ensemble), training_task(resolved, card, workspace)
    seeds = recruitment.seeds(config.seed)
    console.print(f"train: {describe_structures(task, workspace / 'data' / 'prepared')}")
    tracker = instantiate(config.tracking, workspace=workspace)
    tracker.prepare()
    with ExitStack() as stack:
        run = stack.enter_context(tracker.start(config.name, parent=None, tags={"data_md5": card["md5"]["train"], "seed": str(config.seed)}))
        run.log_params(resolved)
        run.log_text(OmegaConf.to_yaml(config), "config.yaml")
        tags = [{"ensemble_member": str(k), "seed": str(seed)} for k, seed in enumerate(seeds)]
        members = [stack.enter_context(tracker.start(f"{config.name} seed={tag['seed']}", parent=run.id, tags=tag)) for tag in tags]
        for member, seed in zip(members, seeds, strict=True):
            member.log_params({**resolved, "seed": seed})
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[errors]}"), TimeRemainingColumn())
        bars = stack.enter_context(Progress(*columns, console=console))
        rows = [bars.add_task(f"member {k}", total=config.trainer.max_epochs, errors="") for k in range(len(seeds))]

        def report(received: Report) -> None:
            epoch = asdict(received.epoch)
            members[received.member].log_metrics({key: finite(value) for key, value in epoch.items()}, step=epoch["epoch"])
            errors = f"E {1e3 * epoch['valid_energy_mae_per_atom']:.2f} meV/atom  F {1e3 * epoch['valid_forces_mae']:.1f} meV/Å"
            bars.update(rows[received.member], completed=epoch["epoch"], errors=errors)

        potentials, curves = train_members(task, seeds, n_processes=recruitment.n_processes, report=report)
        wall = round(time.perf_counter() - started, 2)
        summary = [
            {"run_id": member.id, "seed": seed, "epochs": len(curve), "curve": [{k: finite(v) for k, v in asdict(row).items()} for row in curve]}
            for member, seed, curve in zip(members, seeds, curves, strict=True)
        ]
        path = workspace / "models" / "potential.nnpx"
        made = {**provenance(workspace), "seeds": seeds, "data_md5": card["md5"]}
        last = [member["curve"][-1] for member in summary]
        artifact.save(path, Ensemble(potentials), config=resolved, card=card, provenance=made, training={"last_epochs": last})
        written = {"run_id": run.id, "wall_s": wall, "members": summary}
        (workspace / "models" / "training.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        run.log_metrics({"train_wall_s": wall}, step=0)
        run.log_model(path, name=config.name, alias="candidate")
    forget_graphs(task)
    console.print(f"train: {len(seeds)} members in {wall:.0f} s → {path.relative_to(workspace)}")
