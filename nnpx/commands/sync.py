"""Delivers what MLflow missed while it was silent: nnpx sync [RUN …]."""

import sys
from pathlib import Path
from typing import Final

HELP: Final = """\
usage: nnpx sync [RUN …]

Sends the records kept in .nnpx/tracking to the runs that they belong to, each once. Exits with 1 if some could not be delivered.
"""


def main(words: list[str]) -> int:
    """Says for every run what was delivered.

    Raises:
        ConfigError: there is nothing kept of a run that was named.
    """
    if {"-h", "--help"} & set(words):
        sys.stdout.write(HELP)
        return 0
    from nnpx.runs import project_tracker
    from nnpx.tracking.sync import sync, waiting

    tracker = project_tracker(Path.cwd())
    there = waiting(tracker)
    chosen = [_chosen(word, there) for word in words] if words else there
    if not chosen:
        sys.stdout.write("sync: nothing waits\n")
    outcomes = sync(tracker, chosen)
    for one in outcomes:
        became = f" as {one.run_id}" if one.run_id not in ("", one.began_as) else ""
        sys.stdout.write(f"sync: {one.began_as}: {one.n_records} records delivered{became}\n")
        sys.stdout.write("".join(f"  {remark}\n" for remark in one.remarks))
    return 0 if all(one.run_id for one in outcomes) else 1


def _chosen(word: str, there: list[str]) -> str:
    from nnpx.configuration.targets import suggest
    from nnpx.errors import ConfigError

    found = [run_id for run_id in there if run_id.startswith(word)]
    if len(found) == 1:
        return found[0]
    do = suggest(word, there) or "Run `nnpx sync` without a word to deliver all of them."
    what = f"{len(found)} of them" if found else "nothing"
    raise ConfigError(word, expected=f"the beginning of a run that waits ({', '.join(there) or 'none does'})", found=what, do=do)
