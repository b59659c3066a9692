"""How far long work is: on a terminal, and in the output file of a batch job."""

import io
import time

import pytest
from rich.console import Console

from nnpx.md.progress import watcher
from nnpx.progress import Bars
from nnpx.trainer.progress import watcher as watcher_of_members
from nnpx.trainer.state import Epoch


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


def bars_of(file: io.StringIO, clock: Clock, **how: bool) -> Bars:
    terminal = how.pop("terminal", False)
    bars = Bars(Console(file=file, force_terminal=terminal, force_interactive=terminal, width=120), "train", **how)
    bars.get_time = clock
    return bars


def seconds(line: str) -> int:
    hours, minutes, rest = line.rsplit(", ", 1)[1].removesuffix(" left)").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(rest)


@pytest.mark.parametrize(("n_epochs", "epoch_s", "n_lines"), [(600, 1.0, 10), (1000, 45.0, 100), (100, 600.0, 100)])
def test_a_file_gets_a_line_now_and_then_and_the_time_left(n_epochs: int, epoch_s: float, n_lines: int) -> None:
    file, clock = io.StringIO(), Clock()
    with bars_of(file, clock, stays=True) as bars:
        task = bars.add_task("member 0", total=n_epochs, said="")
        for epoch in range(1, n_epochs + 1):
            clock.now += epoch_s
            bars.update(task, completed=epoch, said=f"epoch {epoch}")
    lines = file.getvalue().splitlines()
    assert len(lines) == pytest.approx(n_lines, abs=2)
    assert lines[-1] == f"train: member 0: 100 % (epoch {n_epochs})"
    middle = lines[len(lines) // 2]
    told = int(middle.split("epoch ")[1].split(",")[0])
    assert middle.startswith(f"train: member 0: {100 * told / n_epochs:.0f} % (")
    assert seconds(middle) == pytest.approx((n_epochs - told) * epoch_s, rel=0.01)


def test_work_that_stops_early_has_its_last_words_and_what_does_not_stay_has_none() -> None:
    said = {}
    for stays in (True, False):
        file = io.StringIO()
        with bars_of(file, Clock(), stays=stays) as bars:
            bars.update(bars.add_task("member 0", total=80, said=""), completed=20, said="epoch 20")
            bars.add_task("member 1", total=80, said="")  # has not begun
        said[stays] = file.getvalue()
    assert said == {True: "train: member 0: 25 % (epoch 20)\n", False: ""}


def test_a_terminal_gets_bars_and_the_time_left_of_slow_work() -> None:
    file, clock = io.StringIO(), Clock()
    with bars_of(file, clock, stays=True, terminal=True) as bars:
        task = bars.add_task("member 0", total=10, said="")
        for epoch in range(1, 5):
            clock.now += 300.0
            bars.update(task, completed=epoch, said=f"epoch {epoch}")
    assert [words in file.getvalue() for words in ("━", " 40%", "epoch 4", "0:30:00")] == [True] * 4


def test_a_simulation_that_goes_on_has_the_speed_of_now() -> None:
    """At 1 fs and 10 steps a second 0.864 ns pass in a day, however many were made before."""
    file, clock = io.StringIO(), Clock()
    with bars_of(file, clock) as bars:
        listen = watcher(bars)("nve", 1.0)
        for done in (900_000, 901_000, 902_000, 903_000):
            listen(done, 1_000_000)
            clock.now += 100.0
        assert bars.tasks[0].fields["said"] == "step 903000 of 1000000  0.86 ns/day"
        assert bars.tasks[0].speed == pytest.approx(10.0)


def test_a_training_that_goes_on_says_so_and_its_time_left_is_that_of_its_own_epochs() -> None:
    """After 60 epochs of an earlier process, told at once, and 4 of 10 s each: 16 are left, 160 s."""
    file, clock = io.StringIO(), Clock()
    with bars_of(file, clock, stays=True) as bars:
        show = watcher_of_members(bars, 1, 80)
        for epoch in range(1, 65):
            clock.now += 10.0 if epoch > 60 else 1e-4
            show(0, Epoch(epoch, 8 * epoch, 1e-3, 0.1, 0.1, 0.001, 0.01, float("nan")), 60)
        assert bars.tasks[0].time_remaining == pytest.approx(160.0, abs=1.0)
    assert file.getvalue().splitlines()[0] == "train: member 0 goes on after epoch 60"
