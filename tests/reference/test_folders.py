"""Programs that work with files: each calculation has a folder of its own, which goes with it unless it is to be kept."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from learning.engines import copper

from nnpx.config import compose
from nnpx.data.frames import labels
from nnpx.data.jobs import SinglePoints
from nnpx.errors import ReferenceEngineError
from nnpx.executor import Task
from nnpx.executor.processes import Processes
from nnpx.reference.ase import ASE
from nnpx.reference.folders import PREFIX, for_temporary_files, new_folder
from nnpx.upstream import stamp

#: the energy is x of the first atom, which goes through files and a moment of waiting; what a calculation before has left adds to it
PROGRAM = """
from pathlib import Path

import numpy as np
from ase.calculators.calculator import BadConfiguration, FileIOCalculator


class Program(FileIOCalculator):
    implemented_properties = ["energy", "forces"]
    _legacy_default_command = "sleep 0.2; cat wave >> in 2>/dev/null; cp in out; cp in wave"

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        Path(self.directory, "in").write_text(f"{atoms.positions[0, 0]}\\n")

    def read_results(self):
        energy = sum(map(float, Path(self.directory, "out").read_text().split()))
        if energy > 9.0:
            raise IndexError("the output ends early")
        self.results = {"energy": energy, "forces": np.zeros((len(self.atoms), 3))}


class Told(Program):
    def __init__(self, *, directory="told"):
        super().__init__(directory=directory)
        Path(directory, "begun").touch()


class Unconfigured(Program):
    def __init__(self, **parameters):
        raise BadConfiguration("no configuration of programs")


class Hanging(Program):
    _legacy_default_command = "sleep 60"
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Programs that can be trusted, an empty folder to work in, and one for what is temporary."""
    for name in ("work", "temporary", "code"):
        (tmp_path / name).mkdir()
    (tmp_path / "code" / "my_programs.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setenv("NNPX_TRUSTED", "my_programs")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "work")


def program(name: str = "Program", **parameters: str) -> ASE:
    return ASE(calculator=f"my_programs.{name}", parameters=parameters, level_of_theory="files")


def atoms(x: float) -> Atoms:
    return Atoms("H2", positions=[[x, 0, 0], [x + 1, 0, 0]])


def left() -> list[Path]:
    return list(Path(tempfile.gettempdir()).iterdir())


@pytest.mark.parametrize("name", ["Program", "Told"])
def test_several_at_once_do_not_take_each_others_numbers(name, tmp_path):
    jobs = [SinglePoints(f"structure {k}", (atoms(float(k)), atoms(k + 0.5))) for k in range(4)]
    found = dict(Processes(n_processes=2).results(program(name), [Task(job.key(), job) for job in jobs], tmp_path / "jobs"))
    for k, job in enumerate(jobs):
        assert [labels(one)["energy"] for one in found[job.key()].structures] == [k, k + 0.5]
    assert list(Path.cwd().iterdir()) == []
    assert left() == []


def test_files_go_with_their_calculator():
    assert labels(program().label(atoms(1.0)))["energy"] == 1.0
    gc.collect()
    assert left() == []


def test_a_failure_says_where_its_files_are():
    with pytest.raises(ReferenceEngineError, match=r"IndexError.*have them kept: reference\.parameters\.directory=FOLDER"):
        program().label(atoms(10.0))
    with pytest.raises(ReferenceEngineError, match="The files of the engine are in ") as error:
        program(directory="calculations").label(atoms(10.0))
    (kept,) = Path("calculations").iterdir()
    assert str(kept.resolve()) in str(error.value)
    assert float((kept / "out").read_text()) == 10.0


def test_where_files_are_kept_changes_no_label():
    kept = program(directory="calculations")
    assert kept.identity == program().identity
    np.testing.assert_array_equal([labels(kept.label(atoms(x)))["energy"] for x in (1.0, 2.0)], [1.0, 2.0])
    assert len(list(Path("calculations").iterdir())) == 2


def test_a_process_that_is_killed_leaves_no_files(tmp_path):
    job = SinglePoints("hanging", (atoms(1.0),))
    found = dict(Processes(n_processes=1).results(program("Hanging"), [Task(job.key(), job, allowed_s=1.0)], tmp_path / "jobs"))
    assert "no answer" in found[job.key()].failures[0].reason
    assert left() == []


#: a process makes a temporary folder of either kind, a file in it, and says so
OWNER = """
import sys
from pathlib import Path

from nnpx.reference.folders import for_temporary_files, new_folder

if sys.argv[1] == "new_folder":
    folder = new_folder(None).path
else:
    context = for_temporary_files()
    folder = Path(context.__enter__()["TMPDIR"])
(folder / "wave").touch()
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["new_folder", "for_temporary_files"])
def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_uses_is_not(kind):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folder = Path(owner.stdout.readline().strip())
    with for_temporary_files() as variables:
        assert sorted(left()) == sorted([folder, Path(variables["TMPDIR"])])
        own = new_folder(None)  # of this very process
        assert {folder, own.path, Path(variables["TMPDIR"])} == set(left())
        own.remove()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(own.lock)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert left() == [folder]
    with for_temporary_files() as variables:
        assert left() == [Path(variables["TMPDIR"])]
    assert left() == []


def test_a_folder_of_another_user_or_machine_and_what_a_link_names_are_left_alone(tmp_path, monkeypatch):
    temporary, work = Path(tempfile.gettempdir()), tmp_path / "work"
    (work / "precious").touch()
    (temporary / f"{PREFIX}link").symlink_to(work)
    (temporary / "nnpx-engine-elsewhere-1").mkdir()
    stale = temporary / f"{PREFIX}stale"
    stale.mkdir()
    with monkeypatch.context() as another_user:
        another_user.setattr(os, "getuid", lambda: stale.stat().st_uid + 1)
        new_folder(None).remove()
    assert stale.is_dir()
    new_folder(None).remove()
    assert sorted(path.name for path in left()) == sorted(["nnpx-engine-elsewhere-1", f"{PREFIX}link"])
    assert (work / "precious").exists()


def test_where_files_are_kept_is_no_reason_to_label_again():
    words = ["data=unlabelled", "reference=ase", "reference.calculator=my_programs.Program"]
    plain, kept, other = (compose([*words, f"reference.parameters={{{more}}}"]) for more in ("", "directory: calculations", "label: other"))
    assert stamp("label", plain) == stamp("label", kept) != stamp("label", other)


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("Unconfigured", {}, "reference.parameters: .*, found BadConfiguration: no configuration .*config.ini"),
        ("Program", {"directory": "a_file"}, "reference.parameters.directory: expected a folder that can be written to"),
    ],
)
def test_a_program_that_cannot_begin_says_what_to_correct_and_leaves_nothing(name, parameters, said):
    Path("a_file").touch()
    with pytest.raises(ReferenceEngineError, match=said):
        program(name, **parameters).calculator()
    assert left() == []


def test_no_directory_is_a_temporary_one():
    assert labels(ASE(calculator="ase.calculators.emt.EMT", parameters={"directory": None}, level_of_theory=None).label(copper(0)))
    gc.collect()
    assert left() == []
