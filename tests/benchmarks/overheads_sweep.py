"""What a sweep costs besides its jobs: python tests/benchmarks/overheads_sweep.py."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
#: a verb that does nothing
NOTHING = '"""Does nothing."""\n\n\ndef main(config, workspace):\n    return\n'
#: s per job that a sweep may cost
BOUND_S = 0.5


def seconds_per_job(n_jobs: int = 64, launcher: str = "joblib") -> tuple[float, float]:
    """Wall time and processor time per job of a sweep whose jobs do nothing, from the start of the command to its table (s)."""
    with tempfile.TemporaryDirectory() as name:
        site, project = Path(name) / "site", Path(name) / "project"
        for part in ("nnpx", "conf"):
            shutil.copytree(ROOT / part, site / part, ignore=shutil.ignore_patterns("__pycache__"))
        (site / "pipelines").mkdir()
        project.mkdir()
        (site / "pipelines" / "nothing.py").write_text(NOTHING)
        environment = {**os.environ, "PYTHONPATH": str(site), "DVC_ROOT": str(project), "OMP_NUM_THREADS": "1"}
        seeds = f"seed=range(0,{n_jobs // 4})"
        words = ["nothing", "-m", "tracking=none", "network=per_species,mlp", "descriptor=acsf,acsf_narrow", seeds]
        started, used = time.perf_counter(), _processor_s()
        command = [sys.executable, "-m", "nnpx.cli", *words, f"hydra/launcher={launcher}"]
        subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - started) / n_jobs, (_processor_s() - used) / n_jobs


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Prints the figure beside its bound."""
    wall, processor = seconds_per_job()
    print(f"64-job sweep of no-op jobs under joblib: {wall:.2f} s per job (bound {BOUND_S} s), {processor:.2f} s of a processor")


if __name__ == "__main__":
    main()
