"""The checksum of what a user trusts, which decides whether a result belongs to it."""

import pytest

from nnpx.targets import trusted_code


@pytest.mark.parametrize("layout", ["module", "package", "namespace", "dotted"])
def test_trusted_code_changes_with_any_line_of_it(layout, tmp_path, monkeypatch):
    file = tmp_path / {"module": f"{layout}.py", "package": f"{layout}/__init__.py"}.get(layout, f"{layout}/dynamics.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NNPX_TRUSTED", f"{layout}.dynamics" if layout == "dotted" else layout)
    file.parent.mkdir(exist_ok=True)
    file.write_text("gamma = 1.0")
    before = trusted_code()
    file.write_text("gamma = 2.0")
    assert trusted_code() != before
