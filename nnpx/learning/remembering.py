"""The loop in MLflow: one run, with a run nested below it for every round."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from nnpx import choices
from nnpx.configuration.schema import plain
from nnpx.figures import svg
from nnpx.files import md5, write_text
from nnpx.learning import figures
from nnpx.learning.reporting import draw, metrics
from nnpx.learning.rounds import Loop
from nnpx.lineage import record_lineage
from nnpx.tracking import Run, Tracker


@final
class Memory:
    """Tells the runs of a loop what it has done; a rerun finds them again by the journal.

    What a run that forgets was told is not noted as told: it is said again once there is a run that remembers.

    Args:
        tracker: opens runs.
        loop: what is remembered.
    """

    def __init__(self, tracker: Tracker, loop: Loop) -> None:
        self._tracker, self._loop = tracker, loop
        tracker.prepare()
        self.run = self._opened("run", choices.run_name(plain(loop.config)), None)

    def tell(self, rows: Sequence[dict[str, Any]]) -> None:
        """The last of these rounds as a nested run, and the whole loop so far as pictures of the parent. Told twice, it changes nothing."""
        row, number = rows[-1], rows[-1]["round"]
        if self._loop.journal.note(f"told {number}"):
            return
        here = self._loop.place(number)
        with self._opened(f"run {number}", f"round {number}", self.run.id) as run:
            run.log_metrics(metrics(row), step=0)
            for path in draw(row, here):
                run.log_file(path, "figures")
            run.log_file(here.report)
        self.run.log_metrics(metrics(row), step=number)
        path = self._loop.folder / "figures" / "learning_curve.svg"
        write_text(path, svg(figures.learning_curve(rows), caption="Errors and uncertainty against calculations with the reference engine"))
        self.run.log_file(path, "figures")
        self.run.flush()
        self._note(f"told {number}", "yes")

    def begin(self, workspace: Path) -> None:
        """What the loop came from, once its first data are there."""
        if not self._loop.journal.note("lineage"):
            self.run.log_params(plain(self._loop.config))
            record_lineage(self.run, self._loop.config, workspace)
            self._note("lineage", "yes")

    def conclude(self, potential: Path, verdict: str) -> None:
        """The potential that was learned, and why the loop ended."""
        self.run.set_tag("ended", verdict)
        if self._loop.journal.note("registered") != md5(potential):
            self.run.log_model(potential, name=self._loop.config.name, alias="" if choices.is_one_of_many() else "candidate")
            self._note("registered", md5(potential))

    def _note(self, key: str, value: str) -> None:
        if self.run.id:
            self._loop.journal.take_note(key, value)

    def _opened(self, key: str, name: str, parent: str | None) -> Run:
        known = self._loop.journal.note(key)
        if known:
            return self._tracker.resume(known)
        run = self._tracker.start(name, parent=parent, tags={"kind": "learn", **choices.run_tags(plain(self._loop.config))})
        if run.id:
            self._loop.journal.take_note(key, run.id)
        return run
