"""What a run came from: everything that `nnpx reproduce` needs to make it again, kept with the run as files that a person can read.

config.yaml        the experiment, resolved
lineage.json       seeds, device, threads, hashes of the data and of the potential that it started from, versions, commit, start command
initial/           that potential, if it did not start from random weights
requirements.txt   every installed package
diff.patch         what the code differed in from its commit, if it did
"""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
from omegaconf import DictConfig, OmegaConf

from nnpx import choices
from nnpx.config import instantiate
from nnpx.files import md5
from nnpx.provenance import code_fingerprint, git_diff, provenance, requirements
from nnpx.tracking import Run, Tracker

CONFIG: Final = "config.yaml"
LINEAGE: Final = "lineage.json"
REQUIREMENTS: Final = "requirements.txt"
DIFF: Final = "diff.patch"
#: folder of the potential that a training started from
INITIAL: Final = "initial"
#: bytes of a diff that are kept; a longer one is no edit but a data file under git's control
DIFF_LIMIT: Final = 1_000_000
#: how a diff that was cut ends
CUT: Final = "# cut by nnpx: "


def record_lineage(run: Run, config: DictConfig, workspace: Path, initial: Path | None = None) -> dict[str, Any]:
    """Keep with the run what it came from; its data card is read from data/prepared/.

    Args:
        run: the run of the training.
        config: the experiment.
        workspace: the folder that the training works in.
        initial: the file of the potential that it starts from; None for random weights.

    Returns:
        The same in short, for the potential's file: versions, commit, command, seeds of the members, hashes of the data and of the
        potential that it started from.
    """
    found = lineage(config, workspace, initial)
    run.log_text(OmegaConf.to_yaml(config), CONFIG)
    run.log_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", LINEAGE)
    run.log_text("".join(f"{name}=={version}\n" for name, version in requirements().items()), REQUIREMENTS)
    if diff := limited(git_diff(workspace)):
        run.log_text(diff, DIFF)
    if initial is not None:
        run.log_file(initial, INITIAL)
    sets = {f"{part}_md5": found["data_md5"].get(part, "") for part in ("valid", "test")}
    tags = {"device": found["device"]["name"], **sets, "command": found["provenance"]["command"]}
    for key, value in tags.items():
        run.set_tag(key, value)
    started = {"initial_md5": found["initial_md5"]} if found["initial_md5"] else {}
    return {**found["provenance"], "seeds": found["seeds"]["members"], "data_md5": found["data_md5"], **started}


def lineage(config: DictConfig, workspace: Path, initial: Path | None) -> dict[str, Any]:
    """The content of lineage.json."""
    card = workspace / "data" / "prepared" / "card.json"
    return {
        "seeds": {"experiment": config.seed, "members": instantiate(config.ensemble).seeds(config.seed)},
        "device": device(config),
        "data_md5": json.loads(card.read_text(encoding="utf-8"))["md5"] if card.is_file() else {},
        "initial_md5": "" if initial is None else md5(initial),
        "dvc": locked_hashes(workspace, "train"),
        "provenance": {**provenance(workspace), "code": code_fingerprint()},
    }


def device(config: DictConfig) -> dict[str, Any]:
    """What computes: the number of threads decides the order of sums, and with it the last digits."""
    name = torch.cuda.get_device_name() if instantiate(config.trainer).uses_gpu else "cpu"
    return {"name": name, "threads": torch.get_num_threads(), "cpus": os.cpu_count() or 1}


def locked_hashes(workspace: Path, stage: str) -> dict[str, str]:
    """The MD5 of what a stage reads, as dvc.lock has it; empty where there is none."""
    lock = workspace / "dvc.lock"
    if not lock.is_file():
        return {}
    deps = OmegaConf.select(OmegaConf.load(lock), f"stages.{stage}.deps", default=[])
    return {str(dep.path): str(dep.md5) for dep in deps if "md5" in dep}


def limited(diff: str) -> str:
    """The diff, cut after `DIFF_LIMIT` bytes, which its last line then says."""
    whole = diff.encode()
    if len(whole) <= DIFF_LIMIT:
        return diff
    kept = whole[:DIFF_LIMIT].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n{CUT}{len(kept.encode())} of {len(whole)} bytes are kept\n"


def open_runs(stack: ExitStack, tracker: Tracker, config: dict[str, object], data_md5: str, seeds: list[int]) -> tuple[Run, list[Run]]:
    """The run of a training and one nested below it for each member, with their parameters; they end with the stack."""
    tracker.prepare()
    run = stack.enter_context(tracker.start(choices.run_name(config), parent=None, tags={"data_md5": data_md5, **choices.run_tags(config)}))
    own = [{"ensemble_member": str(k), "seed": str(seed)} for k, seed in enumerate(seeds)]
    members = [stack.enter_context(tracker.start(f"{config['name']} seed={tag['seed']}", parent=run.id, tags=tag)) for tag in own]
    for member, seed in zip([run, *members], [config["seed"], *seeds], strict=True):
        member.log_params({**config, "seed": seed})
    return run, members
