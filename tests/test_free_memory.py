"""Memory that is free: of the machine, of a container, of the address space; and what is said when there is none left."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from nnpx import cli, memory
from nnpx.errors import OutOfMemoryError
from nnpx.memory import free_memory, is_out_of_memory, refuse_beyond_memory

GB = 10**9


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """16 GB free, no groups, no limit of the address space, 1 GB of which is taken."""
    for name in ("_INFORMATION", "_OWN_SIZE", "_OWN_GROUP", "_GROUPS"):
        monkeypatch.setattr(memory, name, tmp_path / name)
    (tmp_path / "_INFORMATION").write_text("MemTotal: 31250000 kB\nMemFree: 100 kB\nMemAvailable: 15625000 kB\n")
    (tmp_path / "_OWN_SIZE").write_text(f"{GB // resource.getpagesize()} 1 1 1 0 1 0\n")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return tmp_path


def group(folder: Path, limit: int | str, taken: int, from_files: int = 0) -> None:
    """A control group."""
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{taken}\n")
    (folder / "memory.stat").write_text(f"anon 1\nfile 2\ninactive_file {from_files}\nactive_file 3\n")


def test_a_machine_has_what_linux_says_is_available(machine):
    assert free_memory() == 16 * GB


def test_a_container_has_what_its_group_leaves_and_files_that_were_read_do_not_count(machine):
    (machine / "_OWN_GROUP").write_text("0::/\n")
    group(machine / "_GROUPS", 8 * GB, 5 * GB, 2 * GB)
    assert free_memory() == 5 * GB


def test_a_job_has_what_the_closest_of_the_groups_around_it_leaves(machine):
    (machine / "_OWN_GROUP").write_text("4:memory:/old\n0::/slurm/job/step\n")
    group(machine / "_GROUPS" / "slurm", "max", GB)
    group(machine / "_GROUPS" / "slurm/job", 4 * GB, GB)
    group(machine / "_GROUPS" / "slurm/job/step", "max", GB)
    assert free_memory() == 3 * GB


def test_a_limit_of_the_address_space_counts_what_is_taken(machine, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (3 * GB, 3 * GB))
    assert free_memory() == pytest.approx(2 * GB, abs=resource.getpagesize())


def test_where_linux_says_nothing_a_machine_has_what_is_built_in(machine):
    (machine / "_INFORMATION").unlink()
    assert free_memory() >= GB


def test_what_is_too_large_is_refused_with_numbers_and_what_is_small_is_not_asked_for(machine, monkeypatch):
    with pytest.raises(
        OutOfMemoryError, match=r"it: expected rows that fit into the memory that is free, 16\.0 GB, found 7, which take about 20\.0 GB"
    ):
        refuse_beyond_memory(20.0 * GB, "it", expected="rows that fit into", found="7")
    refuse_beyond_memory(15.0 * GB, "it", expected="", found="")
    monkeypatch.setattr(memory, "free_memory", lambda: pytest.fail("asked"))
    refuse_beyond_memory(1000.0, "it", expected="", found="")


#: what asks for more than there is
GREEDY = {"Python": lambda: bytearray(2**62), "NumPy": lambda: np.empty(2**59), "torch": lambda: torch.empty(2**59)}


@pytest.mark.parametrize("ask", GREEDY.values(), ids=GREEDY)
def test_a_memory_that_is_full_is_one_line_of_the_command_with_advice(ask, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_dispatch", lambda arguments: ask())
    assert cli.main() == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("error: memory: expected enough of it for what is to be computed, found none left (")
    assert "Lower cutoff.radius" in told


def test_a_gpu_that_is_full_is_told_and_another_error_keeps_its_traceback():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(other.value)
