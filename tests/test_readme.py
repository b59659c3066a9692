"""The README says what is there."""

import re
from pathlib import Path

import yaml

from nnpx.overrides import groups_in

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def table() -> dict[str, list[str]]:
    """The nouns of the README with their options, remarks in parentheses left out."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", TEXT, flags=re.MULTILINE)
    return {noun: re.sub(r" \([^)]*\)", "", options).split(", ") for noun, options in rows}


def test_the_readme_lists_every_option_of_every_noun():
    assert {noun: sorted(options) for noun, options in table().items()} == {k: sorted(v) for k, v in groups_in([ROOT / "conf"]).items()}


def test_the_readme_names_the_default_first():
    defaults = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    assert {noun: options[0] for noun, options in table().items()} == {k: v for row in defaults if row != "_self_" for k, v in row.items()}


def test_the_files_that_the_readme_names_exist():
    named = re.findall(r"`((?:nnpx|conf|tests|data/inputs)/[\w./]+\.(?:py|md|yaml))`", TEXT)
    assert [path for path in named if "radial_only" not in path and not (ROOT / path).exists()] == []
    assert [path for path in re.findall(r"\]\((\w[\w/.]*)\)", TEXT) if not path.startswith("http") and not (ROOT / path).exists()] == []
