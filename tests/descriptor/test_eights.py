"""Eight numbers at once are what NumPy finds one by one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nnpx.speed.eights import eight, load, store, total
from nnpx.speed.loops import Loop


@Loop
def combine(outcome, given, factor):
    """Into nine numbers of the outcome: eight products and sums, and what these add up to."""
    numbers = load(given, 3) * factor[0] + load(given, 5) * load(given, 0) + eight(factor[0])
    store(outcome, 1, numbers)
    outcome[0] = total(numbers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_are_what_numpy_finds(dtype):
    given, factor, outcome = np.random.default_rng(0).normal(size=13).astype(dtype), np.array([0.7], dtype), np.zeros(10, dtype)
    combine(outcome, given, factor)
    expected = given[3:11] * factor + given[5:13] * given[:8] + factor
    np.testing.assert_allclose(outcome[1:9], expected, rtol=1e-5 if dtype is np.float32 else 1e-14)
    np.testing.assert_allclose(outcome[0], expected.sum(), rtol=1e-5 if dtype is np.float32 else 1e-14)
    assert outcome[9] == 0.0


@pytest.mark.parametrize(("n_given", "n_outcome"), [(13, 9), (12, 9), (13, 8)])
def test_beyond_an_array_they_are_refused_where_bounds_are_checked(n_given, n_outcome, tmp_path):
    code = f"import numpy as np\nfrom test_eights import combine\ncombine(np.zeros({n_outcome}), np.zeros({n_given}), np.ones(1))"
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.path.dirname(__file__)}  # noqa: PTH120  # a word of the environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ((n_given, n_outcome) == (13, 9)), done.stderr
    assert done.returncode == 0 or "eight numbers reach beyond their array" in done.stderr
