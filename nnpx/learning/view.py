"""What a person watches while a loop learns: every round in a line, and what happens now."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nnpx.fitting import Report
from nnpx.progress import Bars

#: what a phase does, in words
WORDS: Final = {
    "data": "gathering data",
    "walkers begin": "choosing where walkers begin",
    "labels": "asking the reference",
    "version": "keeping the data",
    "potential": "training",
    "walkers": "walking",
    "selected": "choosing",
    "report": "looking back",
}
#: how uncertain a walker is, from certain to the upper end of the band
BARS: Final = "▁▂▃▄▅▆▇█"
#: looks at a walker that are shown
WIDTH: Final = 40


@final
class View:
    """A table of rounds that grows, the walkers' uncertainty as it goes, and one bar for the present phase.

    Args:
        console: where it is shown; a terminal shows it live, anything else gets one line per round, and one now and then in between.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._rows, self._told = console, list[Mapping[str, Any]](), 0
        self._ways: dict[str, list[tuple[float, bool]]] = {}
        self._certain = 0.0
        self._bar = Bars(console, "learn")
        self._task = self._bar.add_task("starting", total=None, said="")
        self._round, self._epochs = 0, dict[int, int]()
        self._live = Live(console=console, get_renderable=self._drawn, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> "View":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._bar.update(self._task, visible=False)
            self._ways = {}
            self._live.stop()

    def phase(self, number: int, name: str) -> None:
        """A phase begins."""
        self._round, self._epochs = number, {}
        said = f"round {number}: {WORDS[name]}" if number else f"start: {WORDS[name]}"
        self._bar.reset(self._task, total=None, description=said, said="")
        if name == "walkers":
            self._ways = {}

    def calls(self, done: int, total: int) -> None:
        """So many structures have been labelled."""
        self._bar.update(self._task, completed=done, total=total, said=f"{done} of {total} structures")

    def epoch(self, report: Report, n_epochs: int) -> None:
        """A member has finished an epoch, of so many of all members together."""
        self._epochs[report.member] = report.epoch.epoch
        errors = f"member {report.member}, epoch {report.epoch.epoch}: force MAE {1e3 * report.epoch.valid_forces_mae:.1f} meV/Å"
        self._bar.update(self._task, completed=sum(self._epochs.values()), total=n_epochs, said=errors)

    def tell(self, said: str) -> None:
        """A sentence."""
        self._console.print(f"learn: {said}", highlight=False)

    def walk(self, share: float, looks: Mapping[str, tuple[float, str]], *, certain: float) -> None:
        """The walkers have been looked at.

        Args:
            share: part of the round's time that has passed.
            looks: of each walker its uncertainty in units of the upper end of the band, and its fate if it has met one.
            certain: the lower end of the band in the same units.
        """
        self._certain = certain
        for name, (level, fate) in looks.items():
            self._ways.setdefault(name, []).append((level, bool(fate)))
        walking = sum(not fate for _, fate in looks.values())
        self._bar.update(self._task, completed=share, total=1.0, said=f"{walking} of {len(looks)} walkers on their way")

    def show(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rounds so far."""
        self._rows = list(rows)
        if self._live is None:
            for row in self._rows[self._told :]:
                self._console.print(f"learn: {sentence(row)}", highlight=False, soft_wrap=True)
        self._told = len(self._rows)

    def _drawn(self) -> Group:
        return Group(*([table_of(self._rows)] if self._rows else []), *([self._walkers()] if self._ways else []), self._bar)

    def _walkers(self) -> Table:
        shown = Table(box=None, show_header=False, padding=(0, 1))
        for name, way in self._ways.items():
            line = Text()
            for level, ended in way[-WIDTH:]:
                style = "dim" if ended else "green" if level <= self._certain else "yellow" if level <= 1 else "red"
                line.append("·" if ended else BARS[min(int(level * len(BARS)), len(BARS) - 1)], style=style)
            shown.add_row(name, line)
        return shown


def table_of(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rounds, one a line."""
    shown = Table(title="learning", title_justify="left", title_style="bold")
    for name in ("round", "candidates", "spread q99", "error, drawn", "error, chosen", "labelled", "calls", "walkers"):
        shown.add_column(name, justify="left" if name == "walkers" else "right")
    for row in rows:
        share = "–" if row["candidate_fraction"] is None else f"{100 * row['candidate_fraction']:.1f} %"
        learned = f"{_meV(row['chosen_before'])} → {_meV(row['chosen_after'])}"
        fates = ", ".join(f"{count} {fate}" for fate, count in sorted(row["fates"].items()))
        done = f"{row['n_labelled']}" + (f" ({row['n_failed']} failed)" if row["n_failed"] else "")
        shown.add_row(str(row["round"]), share, _meV(row["spread_q99"]), _meV(row["force_rmse"]), learned, done, str(row["n_calls"]), fates)
    shown.caption = "errors (root mean square) and spreads of the force on an atom in meV/Å; calls of the reference engine in all"
    return shown


def sentence(row: Mapping[str, Any]) -> str:
    """A round in one line."""
    share = 0.0 if row["candidate_fraction"] is None else 100 * row["candidate_fraction"]
    return (
        f"round {row['round']}: {share:.1f} % of {row['n_frames']} frames uncertain, "
        f"{row['n_labelled']} labelled, {row['n_failed']} failed, {row['n_calls']} calls; "
        f"force RMSE {_meV(row['force_rmse'])} meV/Å on drawn frames, {_meV(row['chosen_before'])} → {_meV(row['chosen_after'])} on chosen"
    )


def _meV(value: float | None) -> str:
    return "–" if value is None else f"{1e3 * value:.0f}"
