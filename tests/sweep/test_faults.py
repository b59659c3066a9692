"""What can go wrong while a sweep runs: processes are killed, two start at once, the disk is full. Nothing that was computed is lost."""

import os
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow

#: a training of seed 1 that waits, the first time
WAITS = """if config.seed == 1 and not (PROJECT / 'waited').exists():
        (PROJECT / 'waited').write_text(str(os.getpid()))
        time.sleep(60)"""


def wait_for(path, seconds=180.0):
    end = time.monotonic() + seconds
    while not path.is_file() or not path.read_text():
        assert time.monotonic() < end, f"{path.name} has not appeared"
        time.sleep(0.05)
    return int(path.read_text())


@pytest.fixture
def mounted(project):
    """Mounts a small disk, or the same folder read-only, as the project."""
    mounts = []

    def mount(*arguments):
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
        if not any("remount" in word for word in arguments):
            mounts.append(arguments[-1])

    yield mount
    for folder in reversed(mounts):
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_killed_worker_costs_its_job_a_second_start_and_nothing_else(project, launcher):
    project.hook(
        "if config.seed == 1 and not (PROJECT / 'killed').exists():\n"
        "        (PROJECT / 'killed').touch()\n        os.kill(os.getpid(), signal.SIGKILL)"
    )
    code, out, _ = project.sweep("seed=0,1,2", f"hydra/launcher={launcher}")
    assert code == 0
    assert "[3/3]" in out
    assert [call for call in project.calls() if call == "train 1"] == ["train 1"] * 2


def test_a_job_that_always_kills_its_process_fails_alone(project):
    project.hook("if config.seed == 1:\n        os.kill(os.getpid(), signal.SIGKILL)")
    code, _, err = project.sweep("seed=0,1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert code == 1
    assert err.count("error: job") == 1
    assert "error: job 1 (tracking=none seed=1): its process was killed 3 times (out of memory?)" in err


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_after_the_sweep_was_killed_the_same_command_does_the_rest(project, launcher):
    project.hook(WAITS)
    words = ("train", "-m", "tracking=none", "seed=0,1,2", f"hydra/launcher={launcher}")
    process = project.start(*words)
    wait_for(project.folder / "waited")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = project.calls()
    done = [number for number in range(3) if (project.only() / str(number) / "result.json").is_file()]
    assert "train 1" in before
    code, out, err = project.run(*words)
    assert (code, err) == (0, "")
    assert sorted(project.calls()) == [f"train {number}" for number in range(3) if number not in done]
    assert not done or f"{len(done)} jobs have finished before" in out


def test_a_job_that_outlived_its_killed_sweep_is_waited_for_and_not_done_twice(project):
    project.hook(WAITS.replace("60", "12"))
    words = ("train", "-m", "tracking=none", "seed=0,1", "hydra/launcher=submitit_local")
    process = project.start(*words)
    wait_for(project.folder / "waited")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, err = project.run(*words)
    assert (code, err) == (0, "")
    assert sorted(call for call in project.calls() if call.startswith("train")) == ["train 0", "train 1"]


def test_the_same_sweep_started_twice_at_once_is_refused_and_another_one_runs(project):
    project.hook(WAITS.replace("60", "15"))
    first = project.start("train", "-m", "tracking=none", "seed=0,1")
    wait_for(project.folder / "waited")
    code, _, err = project.sweep("seed=0,1")
    assert code == 2
    assert "expected a sweep that is not running, found the same one. Wait for it; or change a word of this one." in err
    assert project.sweep("seed=0,2")[0] == 0
    _, err = first.communicate(timeout=120)
    assert (first.returncode, err) == (0, "")
    assert len(list((project.folder / "multirun").iterdir())) == 2


def test_two_sweeps_started_in_the_same_second_share_their_data_and_disturb_nobody(project):
    sweeps = [project.start("train", "-m", "tracking=none", "seed=0,1", f"network={name}") for name in ("mlp", "per_species")]
    for process in sweeps:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    calls = project.calls()
    assert sorted(calls) == sorted(["label 0", "prepare 0", "label 1", "prepare 1", *["train 0", "train 1"] * 2])


def test_a_read_only_project_is_told_before_anything_runs(project, mounted):
    folder = str(project.folder)
    mounted("--bind", folder, folder)
    mounted("-o", "remount,ro,bind", folder)
    code, out, err = project.sweep("seed=0,1")
    assert (code, out) == (2, "")
    assert "expected a folder that can be written, found read-only file system" in err
    assert not (project.folder / "calls").exists()


def test_a_full_disk_loses_nothing_that_was_computed(project, mounted):
    folder = str(project.folder)
    mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs", folder)
    project.hook(
        "if config.seed == 1 and not (PROJECT / 'freed').exists():\n"
        "        with (PROJECT / 'ballast').open('wb', buffering=0) as ballast:\n"
        "            while True:\n                ballast.write(bytes(4096))"
    )
    code, _, err = project.sweep("seed=0,1,2")
    assert code in (1, 2)
    assert "No space left on device" in err or "no space left on device" in err
    (project.folder / "ballast").unlink()
    (project.folder / "freed").write_text("yes")
    project.calls()
    code, out, err = project.sweep("seed=0,1,2")
    assert (code, err) == (0, "")
    assert "train 0" not in project.calls()
    assert "│ 3 │" in out
