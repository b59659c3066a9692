"""What nnpx costs beside the science: seconds before anything heavy runs, as a table.

python overheads.py                    every figure
python overheads.py help typo          some of them

A figure is a function that makes one measurement: wall time and CPU time in seconds. The table shows medians and the least of
each, which is nearest to a machine that does nothing else.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: one measurement: wall and CPU time in seconds
Seconds = tuple[float, float]
_COMPOSE = """
import time
import hydra, hydra.compose, hydra.core.override_parser.overrides_parser, omegaconf, pydantic.type_adapter
wall, cpu = time.perf_counter(), time.process_time()
from nnpx.config import compose, validate
validate(compose(["network=mlp", "network.hidden=[64,64]"]))
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def process(*words: str) -> tuple[Seconds, str]:
    """Runs Python once, in a folder of its own; what it took and printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=folder, env=environment, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


def compose_and_validate() -> Seconds:
    """Composes and checks a right experiment in a fresh process, beyond the imports of hydra, omegaconf and pydantic."""
    wall, cpu = process("-c", _COMPOSE)[1].split()
    return float(wall), float(cpu)


def command(*words: str) -> Callable[[], Seconds]:
    """The whole command, from the start of the process to its end."""
    return lambda: process("-m", "nnpx.cli", *words)[0]


#: name → what is measured, how, and the largest wall time that is right, s
FIGURES: dict[str, tuple[str, Callable[[], Seconds], float]] = {
    "python": ("python -c pass, for comparison", lambda: process("-c", "pass")[0], float("nan")),
    "compose": ("compose and validate, beyond imports", compose_and_validate, 0.3),
    "help": ("nnpx --help", command("--help"), 1.0),
    "typo": ("nnpx check descriptor.n_radal=3", command("check", "descriptor.n_radal=3"), 1.0),
    "show": ("nnpx config show", command("config", "show"), 1.0),
    "validate": ("nnpx config validate", command("config", "validate"), 1.0),
    "diff": ("nnpx config diff '' experiment=behler_parrinello", command("config", "diff", "", "experiment=behler_parrinello"), 1.0),
    "schema": ("nnpx config schema", command("config", "schema"), 1.0),
    "explain": ("nnpx config explain md.nve.timestep_fs", command("config", "explain", "md.nve.timestep_fs"), 1.0),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []])
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    print(f"{'':<50}{'wall s':>8}{'least':>7}{'CPU s':>8}{'least':>7}{'limit s':>9}")
    for name in options.figures or FIGURES:
        what, measure, limit = FIGURES[name]
        measure()  # files are in the cache of the system from here on
        walls, cpus = zip(*(measure() for _ in range(options.repeat)), strict=True)
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        print(f"{what:<50}{wall:>8.2f}{min(walls):>7.2f}{cpu:>8.2f}{min(cpus):>7.2f}{limit:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
