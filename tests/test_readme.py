"""The README says what is there."""

import re
from pathlib import Path

import pytest
import yaml

from nnpx.config import compose, instantiate
from nnpx.configuration.option_files import SEPARATE_GROUPS
from nnpx.configuration.overrides import groups_in
from nnpx.descriptor import nep
from nnpx.testing import DESCRIPTOR_LAWS
from nnpx.testing.descriptors import DescriptorCase

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def table() -> dict[str, list[str]]:
    """The nouns of the README with their options, remarks in parentheses left out."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", TEXT, flags=re.MULTILINE)
    return {noun: re.sub(r" \([^)]*\)", "", options).split(", ") for noun, options in rows}


def test_the_readme_lists_every_option_of_every_noun():
    composed = {group: options for group, options in groups_in([ROOT / "conf"]).items() if group not in SEPARATE_GROUPS}
    assert {noun: sorted(options) for noun, options in table().items()} == {k: sorted(v) for k, v in composed.items()}


def test_the_readme_names_the_default_first():
    defaults = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    assert {noun: options[0] for noun, options in table().items()} == {k: v for row in defaults if row != "_self_" for k, v in row.items()}


def test_the_files_that_the_readme_names_exist():
    named = re.findall(r"`((?:nnpx|conf|tests|data/inputs)/[\w./]+\.(?:py|md|yaml))`", TEXT)
    assert [path for path in named if "radial_only" not in path and not (ROOT / path).exists()] == []
    assert [path for path in re.findall(r"\]\((\w[\w/.]*)\)", TEXT) if not path.startswith("http") and not (ROOT / path).exists()] == []


@pytest.fixture(scope="module")
def radial_only() -> DescriptorCase:
    """The descriptor that the README writes, compiled with the names that it says suffice."""
    (source,) = re.findall(r"```python\n(@final.*?)```", TEXT, flags=re.DOTALL)
    names = dict(vars(nep))
    exec(source, names)
    config = compose()
    cutoff = instantiate(config.cutoff)
    radial = instantiate(config.radial, cutoff_radius=cutoff.radius)
    descriptor = names["RadialOnly"](cutoff=cutoff, radial=radial, n_channels=2).double()
    return DescriptorCase(descriptor, 2, cutoff.radius)


@pytest.mark.parametrize("law", DESCRIPTOR_LAWS, ids=lambda law: law.__name__)
def test_the_descriptor_of_the_readme_obeys(law, radial_only):
    law(radial_only)
