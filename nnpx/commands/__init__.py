"""What `nnpx` does beside running a verb: every file of this folder is one command, and its function `main` gets the words after it.

A verb (`pipelines/`) works on one composed experiment and is a stage of DVC; a command looks at configurations, runs and data, or starts
verbs. A command with several words of its own, such as `nnpx config show`, finds them itself. Nothing heavy is imported to list them.
"""

import ast
import importlib
from collections.abc import Sequence
from pathlib import Path


def commands() -> dict[str, str]:
    """Every command with the first line of its docstring."""
    files = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.py")) if not path.stem.startswith("_")}
    return {name: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0] for name, path in files.items()}


def run_command(name: str, words: Sequence[str]) -> int:
    """Runs a command on the words that follow it; returns the exit code."""
    module = importlib.import_module(f"nnpx.commands.{name}")
    return int(module.main(list(words)))
