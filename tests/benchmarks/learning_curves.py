"""Whether learning pays: python tests/benchmarks/learning_curves.py FOLDER [OVERRIDES] [--seeds 0 1 2] [--ways lcmd random farthest_point]

Force error on a fixed set of ethanol frames from the reference's own dynamics at 300, 600 and 1000 K, against calculations with the
reference, for `nnpx learn` from 20 training structures with different ways to pick. `random` and `farthest_point` pick from all frames of
the walkers, whatever the ensemble says of them; `lcmd` picks from what it is uncertain of. An interrupted comparison goes on. So do
loops that have ended if they are given more rounds: `learning.stopping.max_rounds=16 --ways random`. The figure has all that were measured.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from nnpx import artifact
from nnpx.data.reader import read
from nnpx.files import read_json
from nnpx.learning.uncertainty import compared, force_rmse

#: options of `acquisition` that are compared
WAYS = ["lcmd", "random", "farthest_point"]
#: the size of the experiment
COMMON = [
    "experiment=learn_demo",
    "tracking=none",
    "data.n_displaced=26",
    "data.split.n_train=20",
    "data.split.n_valid=4",
    "data.split.n_test=2",
    "ensemble.n_members=3",
    "ensemble.n_processes=1",
    "executor.n_processes=1",
    "acquisition.n_selected=12",
    "learning.n_drawn=4",
    "learning.retrain_epochs=40",
    "learning.walkers.n_walkers=2",
    "learning.walkers.round_ps=0.5",
    "learning.stopping.max_rounds=8",
    "learning.stopping.force_rmse=0.001",
]
#: a band in which every frame is
EVERYTHING = [
    "acquisition.band.error_factor=0",
    "acquisition.band.floor=1e-6",
    "acquisition.band.upper_factor=1e9",
    "acquisition.band.distance_factor=null",
    "learning.walkers.max_candidates=1000",
]
#: file of the points of a loop: calculations, and force RMSE (meV/Å)
CURVE = "learning_curve.json"
#: the frames that all are judged by
TEST = ["tracking=none", "seed=12345", "data.n_trajectories=2", "data.n_frames=25", "data.n_displaced=0", "data.stride=40"]


def run(folder: Path, *words: str) -> None:
    """One command in a project folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log:
        subprocess.run([sys.executable, "-m", "nnpx.cli", *words], cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)


def main() -> None:
    """Run what has not been run, print one JSON line per round and draw all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="*", default=WAYS)
    parser.add_argument("overrides", nargs="*", help="of the configuration, as for nnpx")
    asked = parser.parse_intermixed_args()
    judge = asked.folder / "test"
    if not (judge / "data/prepared/card.json").is_file():
        run(judge, "label", *TEST)
        run(judge, "prepare", *TEST)
    frames = [atoms for part in ("train", "valid", "test") for atoms in read(judge / "data/prepared" / f"{part}.extxyz")]
    for seed in asked.seeds:
        for way in asked.ways:
            here = asked.folder / f"{way}_{seed}"
            run(here, "learn", f"acquisition={way}", f"seed={seed}", *COMMON, *([] if way == "lcmd" else EVERYTHING), *asked.overrides)
            curve = []
            for folder in sorted((here / "learn").glob("round_*")):
                error = force_rmse(compared(artifact.load(folder / "potential.nnpx"), frames))
                curve.append((read_json(folder / "report.json")["n_calls"], round(1e3 * error, 1)))
                print(json.dumps({"way": way, "seed": seed, "calls": curve[-1][0], "force_rmse_meV": curve[-1][1]}), flush=True)
            (here / CURVE).write_text(json.dumps(curve))
            draw(asked.folder)


def draw(folder: Path) -> None:
    """All curves that the folder has, one colour for each way."""
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for way in WAYS:
        for k, file in enumerate(sorted(folder.glob(f"{way}_*/{CURVE}"))):
            curve = json.loads(file.read_text())
            axes.loglog(*zip(*curve, strict=True), f"C{WAYS.index(way)}.-", label=None if k else way)
    axes.set(xlabel="calculations with the reference", ylabel="force RMSE, 300 to 1000 K (meV/Å)")
    axes.legend()
    figure.savefig(folder / "learning_curves.svg")
    plt.close(figure)


if __name__ == "__main__":
    main()
