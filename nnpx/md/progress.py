"""A progress bar for simulations: steps, time left, simulated time per day."""

from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from nnpx.md.runner import Progress as Listener


def progress_bars(console: Console) -> Progress:
    """Bars that vanish when the work is done; a context manager."""
    steps, speed = TextColumn("{task.completed}/{task.total} steps"), TextColumn("{task.fields[speed]}")
    return Progress("{task.description}", BarColumn(), steps, TimeRemainingColumn(), speed, console=console, transient=True)


def watcher(bars: Progress) -> Callable[[str, float], Listener]:
    """What opens a bar for a run with a time step in fs, and gives the function that moves it."""
    return partial(_open, bars)


def _open(bars: Progress, name: str, timestep_fs: float) -> Listener:
    return partial(_advance, bars, bars.add_task(name, total=None, speed=""), timestep_fs)


def _advance(bars: Progress, task: TaskID, timestep_fs: float, done: int, total: int) -> None:
    elapsed = next(one.elapsed for one in bars.tasks if one.id == task)
    speed = done * timestep_fs * 1e-6 / (elapsed / 86400.0) if elapsed else 0.0
    bars.update(task, completed=done, total=total, speed=f"{speed:.2f} ns/day")
