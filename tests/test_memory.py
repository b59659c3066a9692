"""The allocator keeps what is used again and again."""

import os
import platform
import subprocess
import sys

import pytest

#: twelve blocks of 1 MB, again and again: how many pages had to be asked for
CODE = """
import resource
import numpy as np
from nnpx.speed.memory import keep_what_is_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [np.ones(2**17) for _ in range(12)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
keep_what_is_freed()
faults()
print(first, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other rules")
def test_memory_is_kept_between_evaluations() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 5, done.stdout
