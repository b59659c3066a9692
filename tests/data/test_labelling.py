"""Labelling gives the same results however many processes work, survives a kill, and hides no failure."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes

from nnpx.data import frames
from nnpx.data.finished_jobs import FinishedJobs
from nnpx.data.frames import labels
from nnpx.data.jobs import Batch, Dynamics, IsolatedAtom, SinglePoints, Trajectory
from nnpx.errors import DataError
from nnpx.executor.labelling import Labelling
from nnpx.executor.processes import Processes
from nnpx.reference.ase import ASE
from nnpx.reference.emt import EMT

DYNAMICS = Dynamics(timestep_fs=2.0, friction_per_fs=0.05, n_relax=2, n_equilibration=3, stride=2)


class Moody(Calculator):
    """Harmonic atoms; fails where the first atom lies beyond x = 10 Å, and can be slow."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__()
        self.delay_s = delay_s

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if "NNPX_TEST_BEGUN" in os.environ:
            Path(os.environ["NNPX_TEST_BEGUN"]).touch()
        time.sleep(self.delay_s)
        if "NNPX_TEST_DONE" in os.environ:
            Path(os.environ["NNPX_TEST_DONE"]).touch()
        if self.atoms.positions[0, 0] > 10:
            raise RuntimeError("the cycle did not converge")
        self.results = {"energy": float(np.sum(self.atoms.positions**2)), "forces": -2 * self.atoms.positions}


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNPX_TRUSTED", "tests,data,test_labelling")


def moody(delay_s: float = 0.0) -> ASE:
    return ASE(calculator=f"{__name__}.Moody", parameters={"delay_s": delay_s}, level_of_theory="harmonic")


def labelling(engine: Any, folder: Path, n_processes: int = 1) -> Labelling:
    journal, executor = FinishedJobs(path=folder / "journal.jsonl"), Processes(n_processes=n_processes)
    return Labelling(engine=engine, executor=executor, journal=journal, report=lambda done, total: None)


def jobs() -> list[Any]:
    copper = bulk("Cu", cubic=True)
    copper.info["group"] = "md"
    trajectories = [Trajectory(f"md {seed}", copper, 600.0, DYNAMICS, 3, (seed,)) for seed in range(3)]
    return [*trajectories, SinglePoints("given", (copper,)), IsolatedAtom("isolated Cu", "Cu")]


def as_text(batch: Batch) -> str:
    return "".join(frames.text(atoms) for atoms in batch.structures)


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    engine = EMT()
    one = labelling(engine, tmp_path / "one").run(jobs())
    two = labelling(engine, tmp_path / "two", 2).run(jobs())
    assert as_text(one) == as_text(two)
    assert len(one.structures) == 11


def test_finished_jobs_are_not_done_again(tmp_path: Path) -> None:
    engine = EMT()
    first = labelling(engine, tmp_path).run(jobs())
    journal = (tmp_path / "journal.jsonl").read_bytes()
    again = labelling(engine, tmp_path).run(jobs())
    assert as_text(first) == as_text(again)
    assert (tmp_path / "journal.jsonl").read_bytes() == journal


def test_the_job_of_a_half_written_line_is_done_again(tmp_path: Path) -> None:
    engine = EMT()
    whole = labelling(engine, tmp_path).run(jobs())
    path = tmp_path / "journal.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    assert len(FinishedJobs(path=path).read()) == 4
    assert as_text(labelling(engine, tmp_path).run(jobs())) == as_text(whole)
    assert len(FinishedJobs(path=path).read()) == 5


def test_a_command_that_is_ended_does_not_wait_for_what_it_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a batch system, which kills what is still there some seconds after SIGTERM."""
    begun = tmp_path / "begun"
    monkeypatch.setenv("NNPX_TEST_BEGUN", str(begun))
    monkeypatch.setenv("NNPX_TEST_DONE", str(tmp_path / "done"))

    def end(crew: object) -> None:
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        raise SystemExit(143)

    monkeypatch.setattr("nnpx.executor.processes._Crew._wait", end)
    with pytest.raises(SystemExit):
        labelling(moody(delay_s=15.0), tmp_path).run([SinglePoints("slow", (bulk("Cu"),))])
    assert multiprocessing.active_children() == []
    assert begun.exists()
    assert not (tmp_path / "done").exists()


def test_one_failed_cycle_is_recorded_and_the_rest_kept(tmp_path: Path) -> None:
    given = [molecule("H2O") for _ in range(3)]
    given[1].positions += 20
    batch = labelling(moody(), tmp_path).run([SinglePoints(f"structure {index}", (atoms,)) for index, atoms in enumerate(given)])
    assert len(batch.structures) == 2
    assert [failure.name for failure in batch.failures] == ["structure 1, geometry 0"]
    assert "the cycle did not converge" in batch.failures[0].reason


def test_frames_have_the_temperature_that_they_were_asked_for() -> None:
    """Equipartition: ⟨V⟩ = 3/2 N k T of harmonic atoms; of 300 frames of 12 atoms it is known to 3 % at least."""
    atoms = Atoms("H12", np.zeros((12, 3)))
    made = Trajectory("md", atoms, 600.0, Dynamics(1.0, 0.05, 0, 200, 20), 300, (1,)).run(moody())
    energies = [labels(frame)["energy"] for frame in made.structures]
    assert np.mean(energies) == pytest.approx(1.5 * 12 * 600.0 * units.kB, rel=0.1)


def test_trajectory_keeps_what_came_before_a_failure() -> None:
    """Atoms without a restoring force that fly apart reach the region where the engine fails."""
    atoms = Atoms("H2", [[9.9, 0, 0], [0, 0, 0]])
    batch = Trajectory("md", atoms, 5000.0, Dynamics(1.0, 0.01, 0, 0, 1), 400, (1,)).run(moody())
    assert batch.failures == [] or "frames lost" in batch.failures[0].reason
    assert len(batch.structures) + sum(int(failure.reason.split()[0]) for failure in batch.failures) == 400


def test_nothing_labelled_is_an_error(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.positions += 20
    with pytest.raises(DataError, match="expected a label for at least one of 1 structures"):
        labelling(moody(), tmp_path).run([SinglePoints("far", (atoms,))])


KILLED = """
import sys
from pathlib import Path
from tests.data.test_labelling import labelling, moody, points
if __name__ == "__main__":
    labelling(moody(0.15), Path(sys.argv[1]), 2).run(points())
"""


def points() -> list[SinglePoints]:
    made = []
    for index in range(30):
        atoms = molecule("H2O")
        atoms.positions += 0.01 * index
        made.append(SinglePoints(f"structure {index}", (atoms,)))
    return made


def test_resumes_after_sigkill(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment, cwd=root)
    journal = FinishedJobs(path=tmp_path / "journal.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not journal.path.exists() or journal.path.read_bytes().count(b"\n") < 4):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(journal.read())
    assert 4 <= kept < 30
    finished: list[int] = []
    resumed = labelling(moody(), tmp_path)
    resumed.report = lambda done, total: finished.append(done)
    batch = resumed.run(points())
    assert finished[0] == kept
    assert as_text(batch) == as_text(labelling(moody(), tmp_path / "fresh").run(points()))
