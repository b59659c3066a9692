"""Ray as the launcher of a sweep, started on this machine."""

import os
import signal

import pytest
from test_faults import WAITS, wait_for

pytestmark = pytest.mark.slow


def test_a_job_whose_worker_is_killed_is_done_again_and_the_sweep_completes(project):
    pytest.importorskip("ray", reason="needs the extra nnpx[ray]")
    project.hook(WAITS)
    process = project.start("train", "-m", "tracking=none", "seed=0,1,2,3", "hydra/launcher=ray", "hydra.launcher.n_workers=2")
    os.kill(wait_for(project.folder / "waited", seconds=200), signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0
    assert "error" not in err
    assert "[4/4]" in out
    calls = [line.split() for line in (project.folder / "calls").read_text().splitlines()]
    trained = [(seed, pid) for verb, seed, pid in calls if verb == "train"]
    assert sorted(seed for seed, _ in trained) == ["0", "1", "1", "2", "3"]
    assert len({pid for seed, pid in trained if seed == "1"}) == 2  # the second time by another worker
    assert (project.only() / "1" / "starts").read_text() == "2"
