"""Progress bars for training: one per member, with its errors on the validation set and the time left."""

from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from nnpx.trainer.state import Epoch


def progress_bars(console: Console) -> Progress:
    """Bars that stay when the work is done; a context manager."""
    return Progress("{task.description}", BarColumn(), TextColumn("{task.fields[errors]}"), TimeRemainingColumn(), console=console)


def watcher(bars: Progress, n_members: int, max_epochs: int) -> Callable[[int, Epoch], None]:
    """Opens a bar for every member; the function moves that of one member to an epoch."""
    return partial(_advance, bars, [bars.add_task(f"member {k}", total=max_epochs, errors="") for k in range(n_members)])


def _advance(bars: Progress, rows: list[TaskID], member: int, epoch: Epoch) -> None:
    errors = [f"E {1e3 * epoch.valid_energy_mae_per_atom:.2f} meV/atom", f"F {1e3 * epoch.valid_forces_mae:.1f} meV/Å"]
    known = [words for words in errors if "nan" not in words]  # there may be no labels of forces
    bars.update(rows[member], completed=epoch.epoch, errors="  ".join(known))
