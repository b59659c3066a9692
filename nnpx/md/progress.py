"""The progress of simulations: a bar for each run, with the time that it simulates per day."""

from collections.abc import Callable
from functools import partial

from rich.progress import TaskID

from nnpx.md.runner import Progress as Listener
from nnpx.progress import Bars


def watcher(bars: Bars) -> Callable[[str, float], Listener]:
    """What opens a bar for a run with a time step in fs, and gives the function that moves it."""
    return partial(_open, bars)


def _open(bars: Bars, name: str, timestep_fs: float) -> Listener:
    return partial(_advance, bars, bars.add_task(name, total=None, said=""), timestep_fs)


def _advance(bars: Bars, task: TaskID, timestep_fs: float, done: int, total: int) -> None:
    speed = next(one.speed for one in bars.tasks if one.id == task)  # steps per second of this process, which may have gone on
    said = f"step {done} of {total}" + (f"  {speed * timestep_fs * 1e-6 * 86400.0:.2f} ns/day" if speed else "")
    bars.update(task, completed=done, total=total, said=said)
