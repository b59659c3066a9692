"""What is compiled, where it can be kept and where it cannot."""

import numba
import numpy as np

from nnpx.descriptor.compiled import compiled


def test_it_is_compiled_where_nothing_can_be_kept(monkeypatch):
    compile_it = numba.njit

    def without_a_place(*, cache: bool = False, **how):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_it(**how)

    monkeypatch.setattr(numba, "njit", without_a_place)
    add = compiled(lambda values: values.fill(2.0))
    values = np.zeros(3)
    add(values)
    assert (values == 2.0).all()
