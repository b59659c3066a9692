"""Makes a recorded training again and says whether it is the same: nnpx reproduce RUN."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nnpx.reproduction.place import Place
    from nnpx.reproduction.recorded import Recorded
    from nnpx.reproduction.verdict import Verdict

HELP: Final = """\
usage: nnpx reproduce RUN

RUN is a run's id or the beginning of it, NAME@ALIAS of the registry, or the file of a potential (models/potential.nnpx). The training runs
again in a git worktree below .nnpx/reproduce/ with the recorded commit, changes, configuration and data; models/ stays as it is.
Exits with 0 if the outcome is identical or equal within tolerance, with 1 if it differs.
"""


def main(words: list[str]) -> int:
    """Says what differs in code, data and environment, runs the training, compares.

    Raises:
        ConfigError: there is no such run, or its commit is gone.
        ArtifactError: the potential cannot be read, or that which it started from is gone.
        DataError: the training does not run any more.
    """
    from nnpx.arguments import take_trusted
    from nnpx.configuration.targets import trust
    from nnpx.errors import ConfigError

    named = list(words)
    trust(take_trusted(named))
    if {"-h", "--help"} & set(named):
        sys.stdout.write(HELP)
        return 0
    if len(named) != 1:
        raise ConfigError("reproduce", expected="one run", found=" ".join(named) or "none", do="Say nnpx reproduce RUN.")
    from nnpx.reproduction.place import build, provide_data, provide_initial
    from nnpx.reproduction.recorded import find
    from nnpx.reproduction.verdict import compare, environment

    project = Path.cwd()
    recorded = find(named[0], project)
    _say(f"{recorded.label}")
    place = build(recorded, project, project / ".nnpx" / "reproduce" / recorded.key.removesuffix(".nnpx")[:12])
    provide_data(recorded, place, project)
    provide_initial(recorded, place, project)
    for line in [*place.notes, *place.differences, *environment(recorded)]:
        _say(line)
    verbs = ["train", *(["evaluate"] if any(name.startswith("test/") for name in recorded.metrics) else [])]
    place.run(*verbs)
    verdict = compare(recorded, place)
    _tell(verdict)
    _say(f"everything is in {place.workspace.relative_to(project)}")
    _record(recorded, place, verdict, project)
    return 1 if verdict.outcome == "different" else 0


def _say(line: str) -> None:
    sys.stdout.write(f"reproduce: {line}\n")
    sys.stdout.flush()


def _tell(verdict: "Verdict") -> None:
    """The verdict; where something differs, every number of both trainings."""
    from nnpx.report import Table, as_rich

    if verdict.outcome != "identical":
        from rich.console import Console

        rows = [(row.name, f"{row.recorded:.8g}", f"{row.again:.8g}", f"{row.difference:+.2e}") for row in verdict.rows]
        Console().print(as_rich(Table("", ("", "recorded", "again", "difference"), rows)))
        for line in verdict.differences:
            _say(f"differs in {line}")
    _say(f"{verdict.outcome}: {verdict.reason}")


def _record(recorded: "Recorded", place: "Place", verdict: "Verdict", project: Path) -> None:
    """A run of its own in the project's store, where the project keeps runs."""
    from dataclasses import asdict

    from nnpx.errors import ConfigError
    from nnpx.runs import project_tracker

    text = json.dumps({**asdict(verdict), "notes": place.notes}, indent=1, ensure_ascii=False) + "\n"
    (place.workspace / "reproduction.json").write_text(text, encoding="utf-8")
    try:
        tracker = project_tracker(project)
    except ConfigError:
        return
    tags = {"reproduces": recorded.key, "outcome": verdict.outcome}
    with tracker.start(f"reproduction of {recorded.config['name']}", parent=None, tags=tags) as run:
        run.log_params(recorded.config)
        run.log_metrics({row.name.replace(": ", "/"): row.again for row in verdict.rows}, step=0)
        for name in ("reproduction.json", "requirements.txt", "models/potential.nnpx"):
            run.log_file(place.workspace / name)
