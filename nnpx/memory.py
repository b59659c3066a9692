"""Memory that work takes and memory that there is: what cannot fit is refused before its first half has been computed."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from nnpx.errors import OutOfMemoryError

#: bytes that any machine has; whether they are free takes longer to find out than to use them
ALWAYS_THERE: Final = 2.5e8
#: what takes less
LESS: Final = (
    "Lower cutoff.radius or descriptor.angular_radius, trainer.batch_size, trainer.validation_atoms or the number of replicas; "
    "with many elements choose species_embedding=learned or descriptor=moments."
)
_INFORMATION: Final = Path("/proc/meminfo")
_OWN_SIZE: Final = Path("/proc/self/statm")
_OWN_GROUP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")
#: what torch says of memory that it did not get, which is an error of no class of its own on a processor
_OF_TORCH: Final = ("can't allocate memory", "tried to allocate", "out of memory")


def free_memory() -> float:
    """Bytes that this process may still take: of the machine, its control groups, or the limit of its address space, the least."""
    return min(_of_machine(), _of_address_space(), *_of_control_groups())


def refuse_beyond_memory(n_bytes: float, where: str, *, expected: str, found: str) -> None:
    """Work that would run out of memory is not begun.

    Args:
        n_bytes: what it takes, about; more than is free is refused.
        where: what takes it.
        expected: what has to fit.
        found: what is asked for, in numbers.

    Raises:
        OutOfMemoryError: there is less.
    """
    if n_bytes > ALWAYS_THERE and n_bytes > (free := free_memory()):
        there, taken = f"{expected} the memory that is free, {free / 1e9:.1f} GB", f"{found}, which take about {n_bytes / 1e9:.1f} GB"
        raise OutOfMemoryError(where, expected=there, found=taken, do=LESS)


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, NumPy or torch did not get the memory that they asked for."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(said in str(error) for said in _OF_TORCH))


def _of_machine() -> float:
    """What Linux can give without swapping; elsewhere all that is built in."""
    with suppress(OSError, StopIteration):
        lines = _INFORMATION.read_text().splitlines()
        return 1024.0 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _of_address_space() -> float:
    """What `ulimit -v` leaves."""
    with suppress(ImportError, OSError):
        import resource  # there is none on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return float(limit - int(_OWN_SIZE.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def _of_control_groups() -> list[float]:
    """What a container or a batch system leaves, in the group of this process and those around it.

    Files that were read and not for long are given up for it (docs.kernel.org/admin-guide/cgroup-v2.html).
    """
    found = [float("inf")]
    with suppress(OSError):
        own = next((line[3:] for line in _OWN_GROUP.read_text().splitlines() if line.startswith("0::")), "/")
        for depth in range(len(parts := own.strip("/").split("/")) + 1):
            with suppress(OSError, ValueError, StopIteration):  # the outermost has no limit, others may have none: "max"
                found.append(_left_in(_GROUPS.joinpath(*parts[:depth])))
    return found


def _left_in(group: Path) -> float:
    limit, taken = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    lines = (group / "memory.stat").read_text().splitlines()
    return float(limit - taken + int(next(line.split()[1] for line in lines if line.startswith("inactive_file "))))
