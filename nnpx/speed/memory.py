"""Keeps freed memory in the process: what an evaluation frees, the next one needs again, and asking the system for it takes longer."""

from functools import cache
from typing import Final

import numpy as np

#: bytes; just below the largest block from whose end the allocator learns
_LARGE: Final = 2**25 - 2**13


@cache
def keep_what_is_freed() -> None:
    """Lets the allocator keep the memory between two evaluations.

    By default the allocator of Linux (glibc) returns what lies unused to the system, and has to ask for it again in the next evaluation,
    whose every page the system fills with zeros: up to a fifth of the time that some hundred atoms take. It stops to do so, for the rest of
    the process, once a large block has been freed (mallopt(3), M_MMAP_THRESHOLD): then it returns what is unused beyond 64 MB at the end of
    its heap. Other allocators, and one that is told otherwise (MALLOC_TRIM_THRESHOLD_), take no notice.
    """
    np.empty(_LARGE, dtype=np.uint8)
