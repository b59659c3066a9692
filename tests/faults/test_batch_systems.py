"""What a batch system says of its job is not taken for what it says to other programs."""

import os
import warnings
from pathlib import Path

import pytest
from lightning_fabric.utilities.rank_zero import rank_zero_only
from small import CONFIG

from nnpx import processes
from nnpx.config import instantiate

#: variables by which Lightning would take this process for one of several
JOBS = {
    "Slurm, two tasks": {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "2", "RANK": "1", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"},
}


@pytest.mark.parametrize("job", JOBS)
def test_a_training_in_a_job_with_several_tasks_is_one(job, monkeypatch):
    for key, value in JOBS[job].items():
        monkeypatch.setenv(key, value)
    trainer = instantiate(CONFIG["trainer"])
    trainer.check_devices()
    fabric = trainer._fabric()
    assert (fabric.world_size, fabric.global_rank, fabric.is_global_zero) == (1, 0, True)


def test_a_machine_with_slurm_is_no_reason_for_a_warning(tmp_path, monkeypatch):
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # Lightning warns once, in what it takes for the first process
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        instantiate(CONFIG["trainer"]).check_devices()


@pytest.mark.parametrize(
    ("affinity", "quota", "slurm", "cores"),
    [
        (8, None, None, 8),
        (8, "max 100000", None, 8),
        (8, "250000 100000", None, 3),
        (8, "1000 100000", None, 1),
        (2, "800000 100000", None, 2),
        (64, None, "4", 4),
        (64, "200000 100000", "4", 2),
        (8, "nonsense", "many", 8),
    ],
)
def test_as_many_cores_as_were_granted(affinity, quota, slurm, cores, tmp_path, monkeypatch):
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(f"{quota}\n")
    monkeypatch.setattr(processes, "_QUOTA", Path(file))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    if slurm is not None:
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", slurm)
    assert processes.count_cores() == cores


@pytest.mark.parametrize(
    ("said", "quota", "threads"),
    [({}, "200000 100000", "2"), ({}, "max 100000", None), ({"OMP_NUM_THREADS": "5"}, "200000 100000", "5"), ({}, "900000 100000", None)],
    ids=["fewer", "no quota", "the user's own", "more than there are"],
)
def test_torch_has_no_more_threads_than_cores_were_granted(said, quota, threads, tmp_path, monkeypatch):
    """It would start one for every core of the machine, and most of them would wait for a core. What is submitted to a queue has others."""
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(processes, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(processes, "_OWN_WORDS", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(os, "environ", {"HOME": "/home/me", **said})
    processes.share_cores()
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert os.environ["GOMP_SPINCOUNT"] == "5000"
    assert processes.environment_of_others() == {"HOME": "/home/me", **said}
