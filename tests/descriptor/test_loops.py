"""Compiled loops, where they can be kept and where they cannot."""

import importlib
import sys

import numba
import numpy as np
import pytest

from nnpx.speed import loops
from nnpx.speed.loops import Loop, tell_of_compiling


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


def test_it_is_told_once_that_something_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    heard = []
    for process in range(2):
        monkeypatch.setattr(loops, "_HEARERS", [])
        tell_of_compiling(lambda process=process: heard.append(process))
        for precision in (np.float64, np.float32):
            Loop(fill)(np.zeros(3, precision), 2.0)
    assert heard == [0]


@pytest.mark.parametrize("changed", [False, True])
def test_what_was_kept_is_compiled_anew_when_a_function_that_it_calls_has_changed(monkeypatch, tmp_path, changed):
    """Of another file, which Numba does not ask about."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    loop = "from parts_of_it import number\nfrom nnpx.speed.loops import Loop\n\n"
    loop += "@Loop\ndef fill_in(values):\n    values[:] = number(values[0])\n"
    (tmp_path / "loop_of_it.py").write_text(loop)
    found = []
    for factor in (2.0, 3.25 if changed else 2.0):  # as long as another one, Python would take it for the same within a second
        part = "from nnpx.speed.loops import part_of_loop\n\n@part_of_loop\ndef number(x):\n    return {} * x\n"
        (tmp_path / "parts_of_it.py").write_text(part.format(factor))
        for name in ("loop_of_it", "parts_of_it"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        values = np.ones(3)
        importlib.import_module("loop_of_it").fill_in(values)
        found.append((values[0], max(path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc"))))
    assert [value for value, _ in found] == [2.0, 3.25 if changed else 2.0]
    assert (found[1][1] > found[0][1]) == changed
