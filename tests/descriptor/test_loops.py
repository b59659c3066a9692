"""Compiled loops, where they can be kept and where they cannot."""

import numba
import numpy as np
import pytest

from nnpx.speed.loops import Loop


def fill(values, number):
    for k in range(len(values)):
        values[k] = number


@pytest.mark.parametrize("error", [RuntimeError("cannot cache function: no locator available"), OSError("disk full"), None])
def test_it_is_compiled_where_it_can_be_kept_and_where_it_cannot(monkeypatch, tmp_path, error):
    compile_it, kept = numba.njit, []

    def without_a_place(*code, cache: bool = False, **how):
        if "nogil" in how:  # Numba itself calls it, too
            kept.append(cache)
        if cache and error:
            raise error
        return compile_it(*code, cache=cache, **how)

    monkeypatch.setattr(numba, "njit", without_a_place)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    loop = Loop(fill)
    for precision in (np.float64, np.float32):
        values = np.zeros(3, precision)
        loop(values, 2.0)
        assert (values == 2.0).all()
    assert kept == ([True, False] * 2 if error else [True, True])
    assert len(list(tmp_path.rglob("*.nbc"))) == (0 if error else 2)
