"""The commands of docs/data_versions.md do what the page says."""

import re
import shlex
from pathlib import Path

import pytest
from projects import ROOT, Project, write_copper

pytestmark = pytest.mark.slow
PAGE = ROOT / "docs" / "data_versions.md"


def commands() -> list[tuple[str, list[str]]]:
    """Every command of the page with the lines that it prints there."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    pieces = [piece for block in blocks for piece in re.split(r"^\$ ", block, flags=re.MULTILINE) if piece.strip()]
    return [(lines[0], lines[1:]) for lines in (piece.splitlines() for piece in pieces)]


def run(project: Project, command: str) -> str:
    return project.run("bash", "-c", command, expect=None, COLUMNS="80")


def test_every_command_prints_what_the_page_shows(project: Project, tmp_path: Path) -> None:
    write_copper(project.folder / "new.extxyz", 20, first=16)
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.run("git", "commit", "--quiet", "--all", "--message", "name the remote")
    for command, shown in commands():
        assert shlex.split(command)
        said = [line.rstrip() for line in run(project, command).splitlines()]
        missing = [line for line in shown if line.strip() not in ("", "…") and line.rstrip() not in said]
        assert missing == [], f"{command}\n" + "\n".join(said)
