"""What tracking costs: time spent in its calls over the time of an epoch, in the default experiment.

    PYTHONPATH=tests OMP_NUM_THREADS=1 python tests/benchmarks/overheads_tracking.py [EPOCHS]

An epoch of a member takes about a second; every member logs its row, metrics wait
`tracking.flush_every_s` and go in one batch. The store is the default one, a SQLite database.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from small import ethanols

from nnpx.config import compose, instantiate
from nnpx.configuration.schema import plain
from nnpx.data.card import describe
from nnpx.data.duplicates import find_duplicates
from nnpx.data.frames import write
from nnpx.fitting import describe_structures as build_graphs
from nnpx.fitting import for_json, forget_graphs, training_task
from nnpx.members import train_members

#: structures as in the default experiment
COUNTS = {"train": 950, "valid": 120, "test": 120}


def measure(n_epochs: int) -> dict[str, float]:
    """Train one member for some epochs with tracking; s of an epoch, s of an epoch spent in tracking, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        prepare(workspace)
        config = compose([f"trainer.max_epochs={n_epochs}", "ensemble=single"])
        card = card_of(workspace)
        task = training_task(plain(config), card, workspace)
        build_graphs(task, workspace / "data" / "prepared")
        tracker = instantiate(config.tracking, workspace=workspace)
        tracker.prepare()
        spent: list[float] = []
        with tracker.start("member", parent=None, tags={}) as run:

            def report(received) -> None:
                began = time.perf_counter()
                run.log_metrics(for_json(received.epoch), step=received.epoch.epoch)
                spent.append(time.perf_counter() - began)

            began = time.perf_counter()
            train_members(task, [0], n_processes=1, report=report)
            wall = time.perf_counter() - began
        forget_graphs(task)
    tracked = sum(spent)
    return {
        "epoch_s": (wall - tracked) / n_epochs,
        "tracking_s": tracked / n_epochs,
        "largest_call_s": max(spent),
        "ratio": tracked / (wall - tracked),
    }


def prepare(workspace: Path) -> None:
    """Molecules with labels by springs: as many atoms and labels as the default experiment, without its hours of labelling."""
    (workspace / "data" / "prepared").mkdir(parents=True)
    for seed, (part, count) in enumerate(COUNTS.items()):
        write(workspace / "data" / "prepared" / f"{part}.extxyz", ethanols(count, seed=seed))


def card_of(workspace: Path) -> dict:
    """What a training reads of the data card."""
    from ase.io import read

    files = {part: workspace / "data" / "prepared" / f"{part}.extxyz" for part in COUNTS}
    parts = {part: read(path, index=":") for part, path in files.items()}
    return describe(parts, files, find_duplicates(parts["test"], tolerance=1e-3), {})


if __name__ == "__main__":
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print({key: float(np.format_float_positional(value, precision=3, fractional=False)) for key, value in found.items()})
