"""Compares runs: which choice was worth it."""

import sys
from pathlib import Path
from typing import Final

from nnpx.errors import ConfigError

HELP: Final = """\
usage: nnpx compare RUN… [--markdown] [--html FILE]

Compares trained potentials by their errors on the validation set and by what they cost; runs that differ in their seed only are averaged.
RUN is a folder that holds models/ or the jobs of a sweep (multirun/…), else the id of a run in MLflow, the beginning of it, its name, or a
registered potential (quickstart@champion); a sweep's own run stands for its jobs.

  --markdown    as Markdown instead of a table for the terminal
  --html FILE   also as a page with the figure
"""


def main(words: list[str]) -> int:
    """Prints the comparison; returns the exit code."""
    if not words or {"-h", "--help"} & set(words):
        sys.stdout.write(HELP)
        return 0 if words else 2
    runs, page, as_markdown = _read(words)
    from nnpx.comparison import page as forms
    from nnpx.comparison.runs import rows_of

    rows = rows_of(runs, Path.cwd())
    if as_markdown:
        sys.stdout.write(forms.markdown(rows))
    else:
        forms.show(rows)
    if page is not None:
        from nnpx.comparison.figure import drawing

        forms.write_report(page, "Comparison of runs", rows, drawing(rows))
    return 0


def _read(words: list[str]) -> tuple[list[str], Path | None, bool]:
    runs, page, as_markdown, rest = [], None, False, list(words)
    while rest:
        word = rest.pop(0)
        if word == "--markdown":
            as_markdown = True
        elif word == "--html" and rest:
            page = Path(rest.pop(0))
        elif word.startswith("-"):
            raise ConfigError("nnpx compare", expected="RUN… [--markdown] [--html FILE]", found=word, do="See nnpx compare --help.")
        else:
            runs.append(word)
    if not runs:
        raise ConfigError("nnpx compare", expected="runs to compare", found="none", do="See nnpx compare --help.")
    return runs, page, as_markdown
