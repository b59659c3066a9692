"""The checksum of what a user trusts, which decides whether a result belongs to it."""

import re
import sys

import pytest

from nnpx.configuration.targets import locate, trusted_code
from nnpx.errors import ConfigError, ReferenceEngineError
from nnpx.reference.ase import ASE


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


def test_a_calculator_of_ones_own_is_found_in_the_folder_above(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "my_engines.py").write_text("from ase.calculators.emt import EMT\n\n\nclass Mine(EMT):\n    pass\n")
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("NNPX_TRUSTED", "my_engines")
    monkeypatch.setattr("sys.path", list(sys.path))
    engine = ASE(calculator="my_engines.Mine", parameters={}, level_of_theory=None)
    assert type(engine.calculator()).__name__ == "Mine"


def test_a_class_of_ones_own_that_is_not_complete_is_told_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text("from nnpx.network import Network\n\n\nclass Tiny(Network):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NNPX_TRUSTED", "my_networks")
    with pytest.raises(ConfigError, match=r"my_networks\.Tiny, which lacks forward, last_layer_features\. Write"):
        locate("my_networks.Tiny", "network")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("my_library", "raise ImportError('libxc.so.9: cannot open')", "expected that {0} can be imported, found ImportError: libxc.so.9"),
        ("my_name", "from {0} import nothing_of_the_kind", "expected that {0} can be imported, found ImportError: cannot import"),
        ("my_package", "import surely_not_installed", "expected the package surely_not_installed"),
    ],
)
def test_an_engine_whose_module_fails_says_why(name, code, said, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text(code.format(name))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NNPX_TRUSTED", name)
    with pytest.raises(ReferenceEngineError, match=re.escape(said.format(name))):
        ASE(calculator=f"{name}.Mine", parameters={}, level_of_theory=None).calculator()
